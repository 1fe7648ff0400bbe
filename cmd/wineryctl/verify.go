// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/scrub"
	"winery/sharedbase"
)

var verifyCommand = &cli.Command{
	Name:  "verify",
	Usage: "compare index, tables and images, and verify the SHA-256 of every object",
	Description: "Roles may continue to run. The exit status is 1 if anything is inconsistent or could not be read.\n" +
		"With --repair, damaged objects are restored from the table of the shard, if it still exists, or from an image of the\n" +
		"same name in another pool. The quarantine of a shard ends when the shard is consistent. Only bytes whose SHA-256 is\n" +
		"correct are used.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "shard", Usage: "verify only the shard `NAME`; repeat for several shards (default: all)"},
		&cli.StringFlag{Name: "pool-name", Aliases: []string{"n"}, Usage: "verify only the shards of `POOL` (default: all pools)"},
		&cli.IntFlag{Name: "sample", DefaultText: "all objects", Usage: "verify only `N` objects per shard"},
		workersFlag, rateFlag,
		&cli.BoolFlag{Name: "repair", Usage: "restore damaged objects that have an intact copy"},
		&cli.BoolFlag{Name: "erase", Usage: "DESTRUCTIVE: with --repair, erase objects that are in an image but not in the index, even if the index lost them by mistake"},
		noProgressFlag, outputFlag,
	},
	Before: noArguments,
	Action: verify,
}

// verified is the printed result for one shard.
type verified struct {
	Shard    string          `json:"shard"`
	Objects  int64           `json:"objects"`
	Bytes    int64           `json:"bytes"` // read from table and image
	Findings []scrub.Finding `json:"findings"`
	Repaired []string        `json:"repaired,omitempty"`
	Error    string          `json:"error,omitempty"`
}

func verify(c *cli.Context) (err error) {
	scrubber, err := newScrubber(c)
	if err != nil {
		return err
	}
	effort, err := chosenEffort(c)
	if err != nil {
		return err
	}
	scrubber.Rate = effort.rate
	open := reading
	if c.Bool("repair") {
		open = changing
	}
	s, err := openSession(c, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	j := s.journal
	scrubber.Base, scrubber.Pools = s.base, s.pools
	scrubber.Progress = j.bar.show
	names, err := s.chosenShards(c)
	if err != nil {
		return err
	}
	began := time.Now()
	var objects, bytes int64
	findings := 0
	forEach(effort.workers, names, func(name string) (verified, error) {
		own := *scrubber
		return verifyOne(c, &own, name)
	}, func(_ string, row verified, err error) (more bool) {
		objects, bytes, findings = objects+row.Objects, bytes+row.Bytes, findings+len(row.Findings)
		printVerified(j, row, err)
		return !hopeless(err)
	})
	shards := j.handled()
	failure := fmt.Sprintf("%d of %d shards have findings, or could not be read", j.lost, len(names)) + untried(len(names)-shards, "shard")
	var unlisted error // why not all orphans are known
	if !c.IsSet("shard") && !c.IsSet("pool-name") {
		var strays, notes []scrub.Finding
		strays, notes, unlisted = orphans(c.Context, s.base, s.pools)
		for _, f := range notes {
			row := verified{Shard: f.Shard, Findings: []scrub.Finding{f}}
			j.note(row, "%s", strings.Join(linesOf(row), "\n"))
		}
		for _, f := range strays {
			printVerified(j, verified{Shard: f.Shard, Findings: []scrub.Finding{f}}, nil)
		}
		findings += len(strays)
		failure += fmt.Sprintf("; %d tables and images belong to no shard, or are newer than the database", len(strays))
	}
	end := j.end(failure)
	took := time.Since(began)
	_, err = fmt.Fprintf(c.App.ErrWriter, "verified %d shards: %d objects, %s in %v (%.1f MB/s), %d findings\n", shards, objects,
		humanize.Bytes(uint64(bytes)), took.Round(time.Millisecond), float64(bytes)/1e6/took.Seconds(), findings)
	return errors.Join(end, unlisted, err)
}

// newScrubber returns a scrubber as the flags ask for, without database, pools and progress.
func newScrubber(c *cli.Context) (*scrub.Scrubber, error) {
	sample := c.Int("sample")
	switch {
	case c.IsSet("sample") && sample < 1:
		return nil, daemon.UsageError("--sample: found %d, must be 1 or more", sample)
	case sample > 0 && c.Bool("repair"):
		return nil, daemon.UsageError("--sample and --repair exclude each other: a repair verifies the whole shard")
	case c.Bool("erase") && !c.Bool("repair"):
		return nil, daemon.UsageError("--erase needs --repair")
	}
	return &scrub.Scrubber{Sample: sample}, nil
}

// chosenShards returns the shards that --shard names, or else all shards of --pool-name, or else all.
func (s *session) chosenShards(c *cli.Context) ([]string, error) {
	pool := c.String("pool-name")
	if pool != "" {
		if _, err := s.chosenPool("--pool-name", pool); err != nil {
			return nil, err
		}
	}
	shards, err := s.base.ListShards(c.Context, sharedbase.ShardFilter{Pool: pool})
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	names := c.StringSlice("shard")
	for _, shard := range shards {
		all[shard.Name] = true
		if !c.IsSet("shard") {
			names = append(names, shard.Name)
		}
	}
	for _, name := range names {
		if !all[name] {
			return nil, daemon.UsageError("--shard: found %q, must be a shard of the database, and of --pool-name if that is given", name)
		}
	}
	return names, nil
}

func verifyOne(c *cli.Context, s *scrub.Scrubber, name string) (row verified, err error) {
	var r scrub.Repaired
	if c.Bool("repair") {
		r, err = s.Repair(c.Context, name, c.Bool("erase"))
	} else {
		r.Report, err = s.Scrub(c.Context, name)
	}
	row = verified{name, r.Objects, r.Bytes, append([]scrub.Finding{}, r.Findings...), r.Done, ""}
	if err != nil {
		row.Error = err.Error()
	}
	return row, err
}

// printVerified prints the result for one shard.
func printVerified(j *journal, row verified, err error) {
	lines := linesOf(row)
	if len(row.Findings) == 0 && err == nil {
		lines = append(lines, fmt.Sprintf("%s: %d objects are intact", row.Shard, row.Objects))
		j.done(row, "%s", strings.Join(lines, "\n"))
		return
	}
	if len(lines) > 0 {
		j.note(nil, "%s", strings.Join(lines, "\n"))
	}
	j.failed(row, row.Shard, err)
}

// linesOf are the lines for what was repaired and what was found.
func linesOf(row verified) (lines []string) {
	for _, done := range row.Repaired {
		lines = append(lines, fmt.Sprintf("%s: %s", row.Shard, done))
	}
	for _, f := range row.Findings {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", row.Shard, f.Kind, f.Text))
	}
	return lines
}
