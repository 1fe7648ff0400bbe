// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/olekukonko/tablewriter"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"winery/test/harness"
)

// display tells a person how far the demo is.
type display struct {
	began    time.Time
	terminal bool
}

func newDisplay() *display {
	return &display{began: time.Now(), terminal: term.IsTerminal(int(os.Stderr.Fd()))}
}

func (d *display) say(what string) {
	fmt.Printf("%6.1f s  %s\n", time.Since(d.began).Seconds(), what)
}

// step begins a part of the work that is measured in bytes: a bar on a
// terminal, a line elsewhere.
func (d *display) step(name string, total int64) func(bytes int) {
	d.say(fmt.Sprintf("%s: %s", name, humanize.Bytes(uint64(total))))
	if !d.terminal {
		return func(int) {}
	}
	bar := progressbar.DefaultBytes(total, name)
	return func(bytes int) { _ = bar.Add(bytes) } // a bar that cannot be drawn harms nothing
}

func (d *display) table(r *harness.Report, cephStored int64, took time.Duration) error {
	t := tablewriter.NewWriter(os.Stdout)
	t.SetAutoWrapText(false)
	t.SetHeader([]string{"what", "figure"})
	t.Append([]string{"files", humanize.Comma(int64(r.Source.Files))})
	t.Append([]string{"objects (distinct contents)", humanize.Comma(int64(len(r.Source.Paths)))})
	t.Append([]string{"bytes", humanize.Comma(r.Source.Bytes)})
	for _, state := range slices.Sorted(maps.Keys(r.Shards)) {
		t.Append([]string{"shards " + string(state), fmt.Sprint(r.Shards[state])})
	}
	t.Append([]string{"write, over HTTP, committed", r.Write.String()})
	t.Append([]string{"pack, flushed and verified", r.Pack.String()})
	t.Append([]string{"read, over HTTP, compared", r.Read.String()})
	t.Append([]string{"deleted and erased", fmt.Sprint(r.Deleted)})
	t.Append([]string{fmt.Sprintf("bytes in %d images", r.Images), humanize.Comma(r.ImageBytes)})
	if cephStored > 0 {
		t.Append([]string{"image bytes on Ceph", humanize.Comma(cephStored)})
	}
	t.Append([]string{"all of it took", took.Round(time.Second / 10).String()})
	t.Render()
	fmt.Println("every byte matched")
	return nil
}
