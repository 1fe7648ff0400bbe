// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"winery/internal/daemon"
)

var (
	outputFlag     = &cli.StringFlag{Name: "output", Value: "table", Usage: "`FORMAT`: table or json"}
	noProgressFlag = &cli.BoolFlag{Name: "no-progress", Usage: "show no progress bar on a terminal"}
)

// asJSON tells whether --output asks for JSON.
func asJSON(c *cli.Context) (bool, error) {
	switch format := c.String(outputFlag.Name); format {
	case "table", "json":
		return format == "json", nil
	default:
		return false, daemon.UsageError("--output: found %q, must be table or json", format)
	}
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// journal tells of things that are handled one after the other: a line each, or with --output json all at the end.
type journal struct {
	out, errs io.Writer
	json      bool
	rows      []any // of what was done, noted or failed
	did, lost int

	terminal bool
	bar      *progressbar.ProgressBar // nil: none is shown
	label    string                   // of bar
}

func newJournal(c *cli.Context) (*journal, error) {
	asJSON, err := asJSON(c)
	return &journal{
		out: c.App.Writer, errs: c.App.ErrWriter, json: asJSON, rows: []any{},
		terminal: term.IsTerminal(int(os.Stderr.Fd())) && !c.Bool(noProgressFlag.Name),
	}, err
}

func (j *journal) handled() int { return j.did + j.lost }

// done tells that something was done.
func (j *journal) done(row any, format string, args ...any) {
	j.did++
	j.note(row, format, args...)
}

// note tells of something that was left alone. A nil row is left out of the JSON.
func (j *journal) note(row any, format string, args ...any) {
	j.clear()
	if row != nil {
		j.rows = append(j.rows, row)
	}
	if !j.json {
		_, _ = fmt.Fprintf(j.out, format+"\n", args...)
	}
}

// failed tells that something was not done. A nil error was told already.
func (j *journal) failed(row any, name string, err error) {
	j.clear()
	j.lost++
	j.rows = append(j.rows, row)
	if err != nil {
		_, _ = fmt.Fprintf(j.errs, "%s: %v\n", name, err)
	}
}

// end is for when all was tried. Its error is failure if something failed.
func (j *journal) end(failure string) error {
	j.clear()
	var err error
	if j.json {
		err = printJSON(j.out, j.rows)
	}
	if j.lost > 0 {
		err = errors.Join(err, errors.New(failure))
	}
	return err
}

// step moves the bar of that label on, on a terminal.
func (j *journal) step(label string, bytes, total int64) {
	if !j.terminal {
		return
	}
	if j.bar == nil || j.label != label {
		j.clear()
		j.label = label
		j.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(j.errs), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription(label), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	_ = j.bar.Add64(bytes)
}

// clear makes room for a line.
func (j *journal) clear() {
	if j.bar != nil {
		_ = j.bar.Clear()
		j.bar = nil
	}
}
