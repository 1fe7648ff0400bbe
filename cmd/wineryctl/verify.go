// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/internal/scrub"
	"winery/internal/storage"
	"winery/sharedbase"
)

var verifyCommand = &cli.Command{
	Name:  "verify",
	Usage: "compare index, tables and images, and hash every object",
	Description: "Everything may go on meanwhile. The exit status is 1 if anything does not fit or could not be read.\n" +
		"With --repair, what is damaged is restored from a shard's table, while there is one, or from an image of the same\n" +
		"name in another pool, and shards that are well again are unquarantined. Nothing is ever guessed.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "shard", Usage: "only the shard `NAME`; may be given more than once (default: all)"},
		&cli.StringFlag{Name: "pool", Usage: "only the shards of `POOL`"},
		&cli.IntFlag{Name: "sample", Usage: "look at `N` objects a shard, instead of all"},
		&cli.Float64Flag{Name: "rate", Usage: "read no more than `MB/s`"},
		&cli.BoolFlag{Name: "repair", Usage: "repair what can be repaired"},
		&cli.BoolFlag{Name: "erase", Usage: "with --repair: erase objects that are in an image and not in the index. If it is the index that\n\tlost them, they are lost"},
		noProgressFlag, outputFlag,
	},
	Before: noArguments,
	Action: verify,
}

// verified is a shard that was looked at, as it is printed.
type verified struct {
	Shard    string          `json:"shard"`
	Objects  int64           `json:"objects"`
	Bytes    int64           `json:"bytes"` // that were read
	Findings []scrub.Finding `json:"findings"`
	Repaired []string        `json:"repaired,omitempty"`
	Error    string          `json:"error,omitempty"`
}

func verify(c *cli.Context) (err error) {
	j, err := newJournal(c)
	if err != nil {
		return err
	}
	s, err := scrubber(c, j)
	if err != nil {
		return err
	}
	open := reading
	if c.Bool("repair") {
		open = changing
	}
	cfg, base, set, err := openStorage(c, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	defer base.Close()
	s.Base, s.Pools = base, set
	names, err := chosenShards(c, cfg, base, set)
	if err != nil {
		return err
	}
	began := time.Now()
	var objects, bytes int64
	findings := 0
	for _, name := range names {
		row, err := verifyOne(c, s, name)
		objects, bytes, findings = objects+row.Objects, bytes+row.Bytes, findings+len(row.Findings)
		tell(j, row, err)
		if hopeless(err) {
			break
		}
	}
	failure := fmt.Sprintf("%d of %d shards are not well, or could not be read", len(names)-j.did, len(names))
	shards := j.handled()
	if !c.IsSet("shard") && !c.IsSet("pool") {
		strays, err := orphans(c.Context, base, set)
		for _, f := range strays {
			tell(j, verified{Shard: f.Shard, Findings: []scrub.Finding{f}}, nil)
		}
		if err != nil {
			return err
		}
		findings += len(strays)
		failure += fmt.Sprintf("; %d tables and images belong to no shard, or are newer than it", len(strays))
	}
	end := j.end(failure)
	took := time.Since(began)
	_, err = fmt.Fprintf(c.App.ErrWriter, "verified %d shards: %d objects, %s in %v (%.1f MB/s), %d findings\n", shards, objects,
		humanize.Bytes(uint64(bytes)), took.Round(time.Millisecond), float64(bytes)/1e6/took.Seconds(), findings)
	return errors.Join(end, err)
}

// scrubber is one as the flags ask for.
func scrubber(c *cli.Context, j *journal) (*scrub.Scrubber, error) {
	sample, mb := c.Int("sample"), c.Float64("rate")
	switch {
	case c.IsSet("sample") && sample < 1:
		return nil, daemon.UsageError("--sample: found %d, must be 1 or more", sample)
	case c.IsSet("rate") && mb*1e6 < 1:
		return nil, daemon.UsageError("--rate: found %v, must be more than 0", mb)
	case sample > 0 && c.Bool("repair"):
		return nil, daemon.UsageError("--sample and --repair exclude each other: what is repaired is verified as a whole")
	case c.Bool("erase") && !c.Bool("repair"):
		return nil, daemon.UsageError("--erase needs --repair")
	}
	s := &scrub.Scrubber{Sample: sample, Rate: scrub.NewRate(int64(mb * 1e6))}
	s.Progress = func(part scrub.Part, bytes, total int64) { j.step("verifying "+string(part), bytes, total) }
	return s, nil
}

// chosenShards are those that --shard names, or all, of --pool.
func chosenShards(c *cli.Context, cfg *config.Config, base *sharedbase.SharedBase, set storage.Set) ([]string, error) {
	pool := c.String("pool")
	if pool != "" {
		if _, err := chosenPool(cfg, set, "--pool", pool); err != nil {
			return nil, err
		}
	}
	shards, err := base.ListShards(c.Context, sharedbase.ShardFilter{Pool: pool})
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	names := c.StringSlice("shard")
	for _, s := range shards {
		all[s.Name] = true
		if !c.IsSet("shard") {
			names = append(names, s.Name)
		}
	}
	for _, name := range names {
		if !all[name] {
			return nil, daemon.UsageError("--shard: found %q, must be a shard of the database, and of --pool if that is given", name)
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

// tell tells of a shard.
func tell(j *journal, row verified, err error) {
	var lines []string
	for _, done := range row.Repaired {
		lines = append(lines, fmt.Sprintf("%s: %s", row.Shard, done))
	}
	for _, f := range row.Findings {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", row.Shard, f.Kind, f.Text))
	}
	if len(row.Findings) == 0 && err == nil {
		lines = append(lines, fmt.Sprintf("%s: %d objects are well", row.Shard, row.Objects))
		j.done(row, "%s", strings.Join(lines, "\n"))
		return
	}
	if len(lines) > 0 {
		j.note(nil, "%s", strings.Join(lines, "\n"))
	}
	j.failed(row, row.Shard, err)
}
