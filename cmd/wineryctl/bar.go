// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"winery/internal/progress"
)

var noProgressFlag = &cli.BoolFlag{Name: "no-progress", Usage: "do not show progress: a bar on a terminal, or else a line a minute"}

// bar shows the progress of tasks on standard error: on a terminal as a bar, or else
// as a line a minute. Of several tasks at once the bar is that of one until it ends. It
// is safe for concurrent use.
type bar struct {
	mu       sync.Mutex
	out      io.Writer
	hidden   bool
	terminal bool
	task     progress.Report
	reported time.Time                // when task was
	drawn    *progressbar.ProgressBar // nil where none is on the terminal
	printed  time.Time
}

const (
	lineInterval = time.Minute     // between two lines of progress
	patience     = 5 * time.Second // with a task that reports nothing more, while another does
)

func newBar(c *cli.Context, hidden bool) *bar {
	return &bar{out: c.App.ErrWriter, hidden: hidden, terminal: term.IsTerminal(int(os.Stderr.Fd())), printed: time.Now()}
}

// show is a [progress.Func].
func (b *bar) show(now progress.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.hidden:
	case b.terminal:
		b.draw(now)
	case time.Since(b.printed) >= lineInterval:
		b.printed = time.Now()
		_, _ = fmt.Fprintln(b.out, now)
	}
}

func (b *bar) draw(now progress.Report) {
	if b.drawn != nil && b.task.Shard != now.Shard && time.Since(b.reported) < patience {
		return
	}
	if b.drawn == nil || b.task.Shard != now.Shard || b.task.Task != now.Task {
		b.remove()
		b.drawn = progressbar.NewOptions64(now.Total, progressbar.OptionSetWriter(b.out), progressbar.OptionShowBytes(!now.Images),
			progressbar.OptionSetDescription(string(now.Task)+" "+now.Shard), progressbar.OptionClearOnFinish())
	}
	b.task, b.reported = now, time.Now()
	_ = b.drawn.Set64(now.Done)
}

// clear removes the bar from the terminal, so that a line can be printed.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove()
}

func (b *bar) remove() {
	if b.drawn != nil {
		_ = b.drawn.Clear()
		b.drawn = nil
	}
}
