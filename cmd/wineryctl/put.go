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
	Usage:     "store files, and print the SHA256 and path of each once it is durable",
	ArgsUsage: "FILE…|DIR…",
	Description: "Of a directory, every regular file in it and below it is stored; links are not followed.\n" +
		"A file that cannot be stored is named, the others are stored nevertheless, and the exit status is 1.",
	Flags:  []cli.Flag{&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print failures and the summary only"}},
	Action: put,
}

// A batch is sent once it has that many files or bytes; a file that is larger goes alone.
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

// batch is what goes in one request.
type batch struct {
	paths   []string
	objects []client.Object
	bytes   int
}

func (b *batch) add(path string, o client.Object) {
	b.paths, b.objects, b.bytes = append(b.paths, path), append(b.objects, o), b.bytes+len(o.Content)
}

// name is the batch's in messages.
func (b *batch) name() string {
	if len(b.paths) == 1 {
		return b.paths[0]
	}
	return fmt.Sprintf("%s and %d more files", b.paths[0], len(b.paths)-1)
}

// send stores the batch. An error means that there is no sense in sending more.
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
	for i := range b.objects { // to see which one is too large
		one := batch{}
		one.add(b.paths[i], b.objects[i])
		if err := one.send(ctx, winery, report); err != nil {
			return err
		}
	}
	return nil
}
