// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"winery/internal/progress"
)

// report prints the files that were stored and those that failed, and counts them.
type report struct {
	out, errors io.Writer
	quiet       bool
	bar         *bar
	progress    *progress.Meter
	began       time.Time

	mu                 sync.Mutex
	files, added, lost int
	bytes, addedBytes  int64
}

func newReport(c *cli.Context, names []string) *report {
	r := &report{out: c.App.Writer, errors: c.App.ErrWriter, quiet: c.Bool("quiet"), began: time.Now()}
	total := int64(progress.Unknown)
	if !r.quiet {
		total = 0
		for file := range files(names) {
			total += file.size
		}
	}
	r.bar = newBar(c, r.quiet)
	r.progress = progress.Func(r.bar.show).NewMeter("storing", "files", total)
	return r
}

func (r *report) stored(b *batch, added int, addedBytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.quiet {
		r.bar.clear()
		for i, path := range b.paths {
			_, _ = fmt.Fprintf(r.out, "%x  %s\n", b.objects[i].ID, path)
		}
	}
	r.files += len(b.paths)
	r.bytes += int64(b.bytes)
	r.added += added
	r.addedBytes += addedBytes
	r.progress.Add(int64(b.bytes))
}

func (r *report) failed(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var named *fs.PathError // repeats the path
	if errors.As(err, &named) {
		err = named.Err
	}
	r.bar.clear()
	_, _ = fmt.Fprintf(r.errors, "%s: %v\n", path, err)
	r.lost++
}

// end prints the summary, unless nothing was stored because of an error. It returns
// an error if a file was not stored.
func (r *report) end(complete bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bar.clear()
	if complete || r.files > 0 {
		_, _ = fmt.Fprintf(r.errors, "stored %d files, %s (new: %d objects, %s) in %v\n",
			r.files, humanize.Bytes(uint64(r.bytes)), r.added, humanize.Bytes(uint64(r.addedBytes)),
			time.Since(r.began).Round(time.Millisecond))
	}
	if r.lost > 0 {
		return fmt.Errorf("%d files could not be stored", r.lost)
	}
	return nil
}
