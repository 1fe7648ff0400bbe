// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
)

var outputFlag = &cli.StringFlag{
	Name: "output", Value: "table", Usage: "print results in `FORMAT`: table or json",
	Action: func(_ *cli.Context, format string) error {
		if format != "table" && format != "json" {
			return daemon.UsageError("--output: found %q, must be table or json", format)
		}
		return nil
	},
}

// asJSON returns whether --output asks for JSON.
func asJSON(c *cli.Context) bool { return c.String(outputFlag.Name) == "json" }

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// jsonList prints a list as printJSON does, entry by entry.
type jsonList struct {
	w       *bufio.Writer
	entries int
	err     error
}

func newJSONList(w io.Writer) *jsonList { return &jsonList{w: bufio.NewWriter(w)} }

func (l *jsonList) add(v any) {
	text, err := json.MarshalIndent(v, "  ", "  ")
	l.err = cmp.Or(l.err, err)
	before := ",\n  "
	if l.entries == 0 {
		before = "[\n  "
	}
	l.entries++
	_, _ = fmt.Fprintf(l.w, "%s%s", before, text) // an error comes back from Flush
}

// end completes the list, and returns the first error of all.
func (l *jsonList) end() error {
	after := "\n]\n"
	if l.entries == 0 {
		after = "[]\n"
	}
	_, _ = l.w.WriteString(after)
	return cmp.Or(l.err, l.w.Flush())
}

// journal prints the results of a command that handles several things: one line each, or with --output json all of them
// at the end.
type journal struct {
	out, errs io.Writer
	json      bool
	rows      []any // of all results, for --output json
	did, lost int

	bar *bar
}

func newJournal(c *cli.Context) *journal {
	return &journal{
		out: c.App.Writer, errs: c.App.ErrWriter, json: asJSON(c), rows: []any{},
		bar: newBar(c, c.Bool(noProgressFlag.Name)),
	}
}

func (j *journal) handled() int { return j.did + j.lost }

// done prints a success.
func (j *journal) done(row any, format string, args ...any) {
	j.did++
	j.note(row, format, args...)
}

// note prints a result that is neither a success nor a failure. A nil row does not appear in the JSON.
func (j *journal) note(row any, format string, args ...any) {
	j.bar.clear()
	if row != nil {
		j.rows = append(j.rows, row)
	}
	if !j.json {
		_, _ = fmt.Fprintf(j.out, format+"\n", args...)
	}
}

// failed prints a failure. Nothing is printed where err is nil, because the caller has printed the reason.
func (j *journal) failed(row any, name string, err error) {
	j.bar.clear()
	j.lost++
	j.rows = append(j.rows, row)
	if err != nil {
		_, _ = fmt.Fprintf(j.errs, "%s: %v\n", name, err)
	}
}

// end completes the output. It returns an error with the text failure if anything failed.
func (j *journal) end(failure string) error {
	j.bar.clear()
	var err error
	if j.json {
		err = printJSON(j.out, j.rows)
	}
	if j.lost > 0 {
		err = errors.Join(err, errors.New(failure))
	}
	return err
}
