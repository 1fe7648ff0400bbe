// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// report prints the files that were stored and those that failed, and counts them.
type report struct {
	out, errors io.Writer
	quiet       bool
	bar         *progressbar.ProgressBar // nil if stderr is not a terminal
	began       time.Time

	mu                 sync.Mutex
	files, added, lost int
	bytes, addedBytes  int64
}

func newReport(c *cli.Context, names []string) *report {
	r := &report{out: c.App.Writer, errors: c.App.ErrWriter, quiet: c.Bool("quiet"), began: time.Now()}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		total := int64(0)
		for file := range files(names) {
			total += file.size
		}
		r.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(r.errors), progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return r
}

// clear removes the bar from the terminal, so that a line can be printed. The next step draws the bar again.
func (r *report) clear() {
	if r.bar != nil {
		_ = r.bar.Clear()
	}
}

// step advances the bar.
func (r *report) step(bytes int) {
	if r.bar != nil {
		_ = r.bar.Add(bytes)
	}
}

func (r *report) stored(b *batch, added int, addedBytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.quiet {
		r.clear()
		for i, path := range b.paths {
			_, _ = fmt.Fprintf(r.out, "%x  %s\n", b.objects[i].ID, path)
		}
	}
	r.files += len(b.paths)
	r.bytes += int64(b.bytes)
	r.added += added
	r.addedBytes += addedBytes
	r.step(b.bytes)
}

func (r *report) failed(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var named *fs.PathError // repeats the path
	if errors.As(err, &named) {
		err = named.Err
	}
	r.clear()
	_, _ = fmt.Fprintf(r.errors, "%s: %v\n", path, err)
	r.lost++
}

// end prints the summary, unless nothing was stored because of an error. It returns
// an error if a file was not stored.
func (r *report) end(complete bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
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
