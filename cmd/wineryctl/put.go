// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"winery/internal/daemon"
	"winery/internal/httpapi/rpc/client"
)

var putCommand = &cli.Command{
	Name:      "put",
	Usage:     "store files, and print the SHA-256 and path of each file when it is durable",
	ArgsUsage: "FILE…|DIR…",
	Description: "All regular files in a directory and its subdirectories are stored; symbolic links in it are not followed.\n" +
		"If a file cannot be stored, an error names the file, the other files are stored, and the exit status is 1.",
	Flags:  []cli.Flag{&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only failures and the summary"}},
	Action: put,
}

// Limits of a batch. A larger file is a batch of its own.
const (
	batchFiles = 500
	batchBytes = 8 << 20
	inFlight   = 4 // batches
)

func put(c *cli.Context) error {
	if !c.Args().Present() {
		return daemon.UsageError("put takes at least one FILE or DIR")
	}
	winery, maxObject, err := connect(c)
	if err != nil {
		return err
	}
	defer winery.Close()
	report := newReport(c, c.Args().Slice())
	senders, ctx := errgroup.WithContext(c.Context)
	senders.SetLimit(inFlight)
	var next batch
	flush := func() {
		if full := next; len(full.objects) > 0 {
			senders.Go(func() error { return full.send(ctx, winery, report) })
		}
		next = batch{}
	}
	for file := range files(c.Args().Slice()) {
		if ctx.Err() != nil {
			break
		}
		object, err := file.read(maxObject)
		if err != nil {
			report.failed(file.path, err)
			continue
		}
		if next.bytes+len(object.Content) > batchBytes || len(next.objects) == batchFiles {
			flush()
		}
		next.add(file.path, object)
	}
	flush()
	err = senders.Wait()
	return errors.Join(err, report.end(err == nil), c.Context.Err())
}

// batch is the content of one request.
type batch struct {
	paths   []string
	objects []client.Object
	bytes   int
}

func (b *batch) add(path string, o client.Object) {
	b.paths, b.objects, b.bytes = append(b.paths, path), append(b.objects, o), b.bytes+len(o.Content)
}

// name describes the batch in messages.
func (b *batch) name() string {
	if len(b.paths) == 1 {
		return b.paths[0]
	}
	return fmt.Sprintf("%s and %d more files", b.paths[0], len(b.paths)-1)
}

// send stores the batch. After an error, further batches would fail, too.
func (b *batch) send(ctx context.Context, winery *client.Client, report *report) error {
	added, bytes, err := winery.AddBatch(ctx, b.objects)
	var refused *client.Error
	switch {
	case err == nil:
		report.stored(b, added, bytes)
		return nil
	case !errors.As(err, &refused) || refused.Status != http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%s: %w", b.name(), err)
	case len(b.objects) == 1:
		report.failed(b.paths[0], err)
		return nil
	}
	for i := range b.objects { // find the file that is too large
		one := batch{}
		one.add(b.paths[i], b.objects[i])
		if err := one.send(ctx, winery, report); err != nil {
			return err
		}
	}
	return nil
}
