// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var staleCommand = &cli.Command{
	Name:   "stale",
	Usage:  "list shards that have been locked for longer than --duration; their holder, a process of Python Winery, may have died",
	Flags:  []cli.Flag{staleFlag(), stateFlag, outputFlag},
	Before: noArguments,
	Action: shardsStale,
}

var releaseCommand = &cli.Command{
	Name:  "release",
	Usage: "release stale shards: writing → standby, packing → full, cleaning → packed",
	Description: "A shard stays unchanged if its state or holder changes meanwhile. A holder with a valid lease is alive: its shard is\n" +
		"released only with --force. The current step of the holder then fails; acknowledged objects are not lost. A process\n" +
		"of Python Winery has no lease and does not notice the release: make sure first that the process is dead.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "shard", Usage: "release only the shard `NAME`; repeat for several shards (default: all stale shards)"},
		&cli.StringSliceFlag{Name: "locker", Usage: "release only shards locked by `UUID`; repeat for several lockers (default: all lockers)"},
		&cli.StringFlag{Name: "holder", Usage: "release the shards of `HOST[:ROLE]` whose lease has expired, however long they have been locked; excludes --duration"},
		staleFlag(),
		&cli.BoolFlag{Name: "force", Usage: "DESTRUCTIVE: also release shards whose holder is alive; the current step of the holder is aborted"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print what would be released, and change nothing"},
		outputFlag,
	},
	Before: noArguments,
	Action: shardsRelease,
}

// staleShards returns the shards that have been locked for longer than --duration, or all
// locked shards with --holder.
func staleShards(c *cli.Context, base *sharedbase.SharedBase, states []sharedbase.ShardState) ([]sharedbase.Shard, error) {
	after := time.Duration(*c.Generic("duration").(*duration))
	if c.String("holder") != "" {
		after = 0 // the lease says whether the holder is alive
	}
	shards, err := base.ListShards(c.Context, sharedbase.ShardFilter{States: states, LockedFor: max(after, time.Microsecond)})
	return slices.DeleteFunc(shards, func(s sharedbase.Shard) bool { return s.Locker == uuid.Nil }), err
}

func shardsStale(c *cli.Context) error {
	states, err := chosenStates(c)
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
	return printRows(c, rows)
}

// released is the printed result for one shard.
type released struct {
	shardRow
	To    sharedbase.ShardState `json:"to,omitempty"`
	Error string                `json:"error,omitempty"`
}

func shardsRelease(c *cli.Context) error {
	j := newJournal(c)
	names, lockers := c.StringSlice("shard"), c.StringSlice("locker")
	for _, l := range lockers {
		if _, err := uuid.Parse(l); err != nil {
			return daemon.UsageError("--locker: found %q, must be a UUID", l)
		}
	}
	holder := c.String("holder")
	if holder != "" && c.IsSet("duration") {
		return daemon.UsageError("--holder and --duration exclude each other")
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
	var handled []string
	for _, s := range shards {
		if lease := leases[s.Locker]; holder != "" && holder != lease.Host && holder != lease.Host+":"+lease.Role {
			continue
		}
		if len(names) > 0 && !slices.Contains(names, s.Name) ||
			len(lockers) > 0 && !slices.ContainsFunc(lockers, func(l string) bool { return uuid.MustParse(l) == s.Locker }) {
			continue
		}
		handled = append(handled, s.Name)
		row := released{shardRow: rowOf(s)}
		var ok bool
		if row.To, ok = s.State.Origin(); !ok {
			err := fmt.Errorf("the shard is %s; if its importer died, `wineryctl shards import` completes the shard", s.State)
			if len(names) == 0 {
				j.note(row, "ignored %s: %v", s.Name, err)
			} else {
				row.Error = err.Error()
				j.failed(row, s.Name, err)
			}
			continue
		}
		if err := release(c, base, s, leases[s.Locker]); err != nil {
			row.Error = err.Error()
			j.failed(row, s.Name, err)
			continue
		}
		j.done(row, "%s %s: %s → %s, locked by %s since %s", verb, s.Name, s.State, row.To, s.Locker, s.LockedAt.Local().Format(time.DateTime))
	}
	for _, name := range names {
		if !slices.Contains(handled, name) {
			s, err := notStale(c, base, name)
			j.failed(released{shardRow: rowOf(s), Error: err.Error()}, name, err)
		}
	}
	var unknown error
	if len(handled) == 0 && j.handled() == 0 {
		if holder != "" {
			host, _, _ := strings.Cut(holder, ":")
			unknown = checkHost(c.Context, base, host)
		}
		if unknown == nil {
			j.note(nil, "no stale shard")
		}
	}
	return errors.Join(unknown, j.end(fmt.Sprintf("%d of %d shards could not be released", j.lost, j.handled())))
}

// notStale returns a shard that --shard names and that was not released, and why.
func notStale(c *cli.Context, base *sharedbase.SharedBase, name string) (sharedbase.Shard, error) {
	s, err := base.ShardByName(c.Context, name)
	switch {
	case errors.Is(err, sharedbase.ErrNotFound):
		return sharedbase.Shard{Name: name}, errors.New("no such shard")
	case err != nil:
		return sharedbase.Shard{Name: name}, err
	case s.Locker == uuid.Nil:
		return s, fmt.Errorf("the shard is %s and not locked: there is nothing to release", s.State)
	}
	return s, fmt.Errorf("the shard is locked by %s since %s, and does not match --duration, --holder or --locker; --duration 0s matches every locked shard",
		s.Locker, s.LockedAt.Local().Format(time.DateTime))
}

// release releases a shard whose holder has the given lease. With --dry-run it only
// returns the error that a release would return.
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
