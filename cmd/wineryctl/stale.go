// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var staleCommand = &cli.Command{
	Name:   "stale",
	Usage:  "list the shards that have been locked for long, which only happens to Python's: their holder may have died",
	Flags:  []cli.Flag{staleFlag(), stateFlag, outputFlag},
	Before: noArguments,
	Action: shardsStale,
}

var releaseCommand = &cli.Command{
	Name:  "release",
	Usage: "take stale shards from their holders: writing → standby, packing → full, cleaning → packed",
	Description: "Only what was seen is released: a shard that moved on, or that another holder locked, stays as it is.\n" +
		"A holder that is alive after all can do nothing with the shard any more, if it is not a Python one.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "shard", Usage: "only the shard `NAME`; may be given more than once"},
		&cli.StringSliceFlag{Name: "locker", Usage: "only those locked by `UUID`; may be given more than once"},
		staleFlag(),
		&cli.BoolFlag{Name: "dry-run", Usage: "only tell what would be released"},
		outputFlag,
	},
	Before: noArguments,
	Action: shardsRelease,
}

// staleShards lists the shards that have a holder for longer than --duration.
func staleShards(c *cli.Context, base *sharedbase.SharedBase, states []sharedbase.ShardState) ([]sharedbase.Shard, error) {
	after := time.Duration(*c.Generic("duration").(*duration))
	shards, err := base.ListShards(c.Context, sharedbase.ShardFilter{States: states, LockedFor: max(after, time.Microsecond)})
	return slices.DeleteFunc(shards, func(s sharedbase.Shard) bool { return s.Locker == uuid.Nil }), err
}

func shardsStale(c *cli.Context) error {
	states, err := chosenStates(c)
	if err != nil {
		return err
	}
	print, err := printer(c)
	if err != nil {
		return err
	}
	_, base, err := attached(c)
	if err != nil {
		return err
	}
	defer base.Close()
	shards, err := staleShards(c, base, states)
	if err != nil {
		return err
	}
	rows, err := rowsOf(c, base, shards)
	if err != nil {
		return err
	}
	return print(rows)
}

// released is a shard that release handled, as it is printed.
type released struct {
	shardRow
	To    sharedbase.ShardState `json:"to,omitempty"`
	Error string                `json:"error,omitempty"`
}

func shardsRelease(c *cli.Context) error {
	j, err := newJournal(c)
	if err != nil {
		return err
	}
	names, lockers := c.StringSlice("shard"), c.StringSlice("locker")
	for _, l := range lockers {
		if _, err := uuid.Parse(l); err != nil {
			return daemon.UsageError("--locker: found %q, must be a UUID", l)
		}
	}
	_, base, err := attached(c)
	if err != nil {
		return err
	}
	defer base.Close()
	shards, err := staleShards(c, base, nil)
	if err != nil {
		return err
	}
	verb := "released"
	if c.Bool("dry-run") {
		verb = "would release"
	}
	for _, s := range shards {
		if len(names) > 0 && !slices.Contains(names, s.Name) ||
			len(lockers) > 0 && !slices.ContainsFunc(lockers, func(l string) bool { return uuid.MustParse(l) == s.Locker }) {
			continue
		}
		row := released{shardRow: rowOf(s)}
		var ok bool
		if row.To, ok = s.State.Origin(); !ok {
			j.note(row, "ignored %s: it is %s; wineryctl shards import completes it if its importer died", s.Name, s.State)
			continue
		}
		if !c.Bool("dry-run") {
			if err := base.ReleaseShard(c.Context, s); err != nil {
				row.Error = err.Error()
				j.failed(row, s.Name, err)
				continue
			}
		}
		j.done(row, "%s %s: %s → %s, locked by %s since %s", verb, s.Name, s.State, row.To, s.Locker, s.LockedAt.Local().Format(time.DateTime))
	}
	if j.handled() == 0 {
		j.note(nil, "no stale shard")
	}
	return j.end(fmt.Sprintf("%d of %d shards could not be released", j.lost, j.handled()))
}
