// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
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
	Usage: "release stale shards from their holders: writing → standby, packing → full, cleaning → packed",
	Description: "A shard that changed state or holder since it was listed stays as it is. A holder whose lease has not ended\n" +
		"is alive: its shard is released only with --force. It then fails and loses nothing that was acknowledged. A Python\n" +
		"process has no lease, and notices nothing: be sure that it is dead.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "shard", Usage: "only the shard `NAME`; may be given more than once"},
		&cli.StringSliceFlag{Name: "locker", Usage: "only those locked by `UUID`; may be given more than once"},
		staleFlag(),
		&cli.BoolFlag{Name: "force", Usage: "DESTRUCTIVE: release even from a holder that is alive; it aborts its current step"},
		&cli.BoolFlag{Name: "dry-run", Usage: "only print what would be released"},
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
	show, err := printer(c)
	if err != nil {
		return err
	}
	_, base, err := reading(c)
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
	return show(rows)
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
	open := changing
	if c.Bool("dry-run") {
		open = reading
	}
	_, base, err := open(c)
	if err != nil {
		return err
	}
	defer base.Close()
	shards, err := staleShards(c, base, nil)
	if err != nil {
		return err
	}
	leases, err := base.Leases(c.Context)
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
		if err := release(c, base, s, leases[s.Locker]); err != nil {
			row.Error = err.Error()
			j.failed(row, s.Name, err)
			continue
		}
		j.done(row, "%s %s: %s → %s, locked by %s since %s", verb, s.Name, s.State, row.To, s.Locker, s.LockedAt.Local().Format(time.DateTime))
	}
	if j.handled() == 0 {
		j.note(nil, "no stale shard")
	}
	return j.end(fmt.Sprintf("%d of %d shards could not be released", j.lost, j.handled()))
}

// release releases a shard whose holder has the given lease, or with --dry-run
// tells whether it would.
func release(c *cli.Context, base *sharedbase.SharedBase, s sharedbase.Shard, lease sharedbase.Lease) (err error) {
	force, dry := c.Bool("force"), c.Bool("dry-run")
	switch {
	case dry && !force && lease.Locker != uuid.Nil && !lease.Expired:
		err = &sharedbase.HeldError{Shard: s.Name, Lease: lease}
	case dry:
		return nil
	case force:
		return base.ReleaseShard(c.Context, s)
	default:
		err = base.ReleaseUnleased(c.Context, s)
	}
	if errors.As(err, new(*sharedbase.HeldError)) {
		return fmt.Errorf("%w: stop that process, or use --force", err)
	}
	return err
}
