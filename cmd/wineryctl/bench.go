// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"winery/internal/daemon"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/load"
)

var benchCommand = &cli.Command{
	Name:  "bench",
	Usage: "measure how fast a writer stores and returns objects, and how long clients wait",
	Description: "Clients send one request after the other, all at the same time. Those that store send new objects, which REMAIN in the\n" +
		"store: --save-ids keeps their ids, for a later run with --ids, and for `wineryctl delete`. Those that read take objects\n" +
		"from --ids, or else objects that this run has stored. Every object that is read is compared with its id. The command uses\n" +
		"CPU: start it on another host than the writer's.",
	Flags: []cli.Flag{
		&cli.IntFlag{Name: "writers", Usage: "let `N` clients store objects"},
		&cli.IntFlag{Name: "readers", Usage: "let `N` clients read objects"},
		&cli.IntFlag{Name: "batch", Value: 1, Usage: "send `N` objects in each request"},
		&cli.StringFlag{Name: "sizes", Value: "source", Usage: "store objects with the `SIZES` of: source (files of source code, 9 kB on average) or production (up to 68 MB)"},
		&cli.DurationFlag{Name: "duration", Value: 30 * time.Second, Usage: "measure for `TIME`, such as 30s or 10m"},
		&cli.StringFlag{Name: "ids", Usage: "read the objects whose SHA-256 are the first word of each line in `FILE`, as `wineryctl put` prints them"},
		&cli.StringFlag{Name: "save-ids", Usage: "write the ids of the stored objects to `FILE`"},
		outputFlag,
	},
	Before: noArguments,
	Action: bench,
}

func bench(c *cli.Context) error {
	b, err := newBenchmark(c)
	if err != nil {
		return err
	}
	defer b.close()
	written, read, err := b.run(c.Context)
	var unsaved error
	if path := c.String("save-ids"); path != "" {
		unsaved = saveIDs(path, b.stored.All())
	}
	if err != nil {
		return errors.Join(err, unsaved)
	}
	rows := map[string]load.Result{}
	if b.write.Count > 0 {
		rows["write"] = written
	}
	if b.read.Count > 0 {
		rows["read"] = read
	}
	if asJSON(c) {
		err = printJSON(c.App.Writer, benchJSON(rows))
	} else {
		err = printBench(c, rows)
	}
	return errors.Join(err, unsaved)
}

// benchmark is what the flags ask for.
type benchmark struct {
	write, read load.Clients
	objects     *load.Objects
	readable    *load.IDs // of --ids; the same as stored where there are none
	stored      *load.IDs
	close       func() // ends the connections
}

func newBenchmark(c *cli.Context) (*benchmark, error) {
	writers, readers, batch := c.Int("writers"), c.Int("readers"), c.Int("batch")
	sizes := load.Mixes[c.String("sizes")]
	switch {
	case writers < 0 || readers < 0 || writers+readers == 0:
		return nil, daemon.UsageError("bench needs clients: --writers N, --readers N, or both")
	case batch < 1:
		return nil, daemon.UsageError("--batch: found %d, must be at least 1", batch)
	case sizes == nil:
		return nil, daemon.UsageError("--sizes: found %q, must be %s", c.String("sizes"), strings.Join(slices.Sorted(maps.Keys(load.Mixes)), " or "))
	case c.Duration("duration") <= 0:
		return nil, daemon.UsageError("--duration: found %s, must be positive", c.Duration("duration"))
	case writers == 0 && c.String("ids") == "":
		return nil, daemon.UsageError("--readers without --writers needs --ids FILE, the objects to read")
	}
	b := &benchmark{objects: &load.Objects{Sizes: sizes, Seed: rand.Uint64()}, stored: new(load.IDs)}
	b.readable = b.stored
	if path := c.String("ids"); path != "" {
		var err error
		if b.readable, err = readIDs(path); err != nil {
			return nil, err
		}
	}
	winery, _, err := connect(c, client.Connections(writers+readers))
	if err != nil {
		return nil, err
	}
	b.close = winery.Close
	b.write = load.Clients{To: winery, Count: writers, Batch: batch, Time: c.Duration("duration")}
	b.read = b.write
	b.read.Count = readers
	return b, nil
}

// run measures until the time is over, or ctx ends.
func (b *benchmark) run(ctx context.Context) (written, read load.Result, err error) {
	if b.readable == b.stored && b.read.Count > 0 { // readers need something to read
		first := load.Clients{To: b.write.To, Count: 1, Batch: 1}
		if _, err := first.Add(ctx, b.objects, 100, b.stored); err != nil {
			return written, read, err
		}
	}
	var both errgroup.Group
	both.Go(func() (err error) {
		if b.write.Count > 0 {
			written, err = b.write.Add(ctx, b.objects, math.MaxInt, b.stored)
		}
		return err
	})
	both.Go(func() (err error) {
		if b.read.Count > 0 {
			read, err = b.read.Get(ctx, b.readable, math.MaxInt)
		}
		return err
	})
	return written, read, errors.Join(both.Wait(), ctx.Err())
}

// readIDs reads the first word of each line.
func readIDs(path string) (*load.IDs, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, daemon.UsageError("--ids: %w", err)
	}
	defer file.Close()
	ids, lines, n := new(load.IDs), bufio.NewScanner(file), 0
	for lines.Scan() {
		word, _, _ := strings.Cut(lines.Text(), " ")
		id, err := parseID(word)
		if err != nil {
			return nil, daemon.UsageError("--ids: line %d of %s begins with %.80q, which is no SHA-256 in hexadecimal", n+1, path, word)
		}
		ids.Add(id)
		n++
	}
	if n == 0 && lines.Err() == nil {
		return nil, daemon.UsageError("--ids: %s is empty", path)
	}
	return ids, lines.Err()
}

func saveIDs(path string, ids [][32]byte) error {
	var lines strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&lines, "%x\n", id)
	}
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		return fmt.Errorf("--save-ids: %w", err)
	}
	return nil
}
