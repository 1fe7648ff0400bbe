// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"winery/internal/daemon"
	"winery/internal/status"
	"winery/internal/storage"
)

// watchInterval is the time between two reports of --watch.
const watchInterval = 5 * time.Second

var statusCommand = &cli.Command{
	Name:  "status",
	Usage: "show what is wrong and how to cure it, then shards, processes and pools",
	Description: "Run this command first when something is wrong. /usr/share/doc/winery/operations.md explains the codes of the problems.\n" +
		"The exit status is 0 if there is no problem, 1 if there are problems, and 2 if the database could not be read.",
	Flags: []cli.Flag{
		&cli.BoolFlag{Name: "watch", Usage: fmt.Sprintf("repeat every %v until a signal", watchInterval)},
		outputFlag,
	},
	Before: noArguments,
	Action: showStatus,
}

func showStatus(c *cli.Context) error {
	cfg, base, err := configured(c) // no check: a database that does not answer is a result
	if err != nil {
		return err
	}
	defer base.Close()
	set := storage.OpenToReport(cfg.Pools) // not closed: that would wait for a store that hangs
	source := &status.Source{Base: base, Pools: cfg.Pools, Set: set}
	for {
		report := status.Read(c.Context, source)
		if c.Context.Err() != nil {
			return c.Context.Err()
		}
		if asJSON(c) {
			err = printJSON(c.App.Writer, report)
		} else {
			if c.Bool("watch") && term.IsTerminal(int(os.Stdout.Fd())) {
				_, _ = fmt.Fprint(c.App.Writer, "\x1b[H\x1b[2J") // clears the screen
			}
			err = printStatus(c.App.Writer, report)
		}
		if err != nil || !c.Bool("watch") {
			return errors.Join(err, verdict(report))
		}
		select {
		case <-c.Context.Done():
			return verdict(report)
		case <-time.After(watchInterval):
		}
	}
}

// verdict is the error that ends the command with the exit status of a report.
func verdict(r status.Report) error {
	if r.Verdict == status.Unknown {
		return daemon.UnknownError("the database could not be read: see the first problem")
	}
	if len(r.Problems) == 0 {
		return nil
	}
	return fmt.Errorf("problems found: %d", len(r.Problems))
}

func printStatus(w io.Writer, r status.Report) error {
	out := &statusPrinter{w: w}
	out.problems(r)
	if len(r.Shards) > 0 {
		out.shards(r)
	}
	if len(r.Processes) > 0 {
		out.processes(r)
	}
	out.pools(r)
	return out.err
}

// statusPrinter remembers the first error.
type statusPrinter struct {
	w   io.Writer
	err error
}

func (p *statusPrinter) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *statusPrinter) problems(r status.Report) {
	at := r.At.Local().Format(time.DateTime)
	if r.Verdict == status.Well {
		p.line("%s  no problems", at)
		return
	}
	p.line("%s  problems: %d", at, len(r.Problems))
	for _, problem := range r.Problems {
		p.line("\n%s %s: %s", problem.Code, problem.Severity, problem.What)
		for _, on := range problem.On {
			p.line("  on    %s", on)
		}
		if more := problem.Count - int64(len(problem.On)); more > 0 {
			p.line("        and %d more", more)
		}
		p.line("  cure  %s", problem.Cure)
	}
}

// table prints a table after an empty line.
func (p *statusPrinter) table(columns string, rows func(row func(format string, args ...any))) {
	p.line("")
	p.err = errors.Join(p.err, printTable(p.w, columns, rows))
}

func (p *statusPrinter) shards(r status.Report) {
	p.table("POOL\tSTATE\tSHARDS\tOLDEST IN STATE\tQUARANTINED", func(row func(string, ...any)) {
		for _, s := range r.Shards {
			row("%s\t%s\t%s\t%s\t%d", s.Pool, s.State, humanize.Comma(s.Shards), status.Age(time.Duration(s.OldestSeconds)*time.Second), s.Quarantined)
		}
	})
	p.line("tables that wait for a packer: %s", humanize.Bytes(uint64(r.FullQueueBytes)))
}

func (p *statusPrinter) processes(r status.Report) {
	p.table("ROLE\tHOST\tPID\tVERSION\tLAST SEEN\tSTATUS", func(row func(string, ...any)) {
		for _, s := range r.Processes {
			row("%s\t%s\t%d\t%s\t%s ago\t%s", s.Role, s.Host, s.PID, s.Version, status.Age(time.Duration(s.UnseenSeconds)*time.Second), shortened(s.Status))
		}
	})
}

func (p *statusPrinter) pools(r status.Report) {
	p.table("POOL\tTYPE\tSTATE ON THIS HOST", func(row func(string, ...any)) {
		for _, s := range r.Pools {
			row("%s\t%s\t%s", s.Name, s.Type, s.State)
		}
	})
}

// shortened cuts a text that is too long for a column.
func shortened(text string) string {
	const width = 60
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text
}
