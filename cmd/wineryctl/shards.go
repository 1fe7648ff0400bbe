// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var shardsCommand = &cli.Command{
	Name:      "shards",
	Usage:     "list, show, release, repair, import and migrate shards",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{{
		Name:  "list",
		Usage: "list the shards, oldest first",
		Flags: []cli.Flag{
			stateFlag,
			&cli.BoolFlag{Name: "open", Usage: "list only shards that are not readonly"},
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "also show the number of objects and the size of each table; this takes longer"},
			outputFlag,
		},
		Before: noArguments,
		Action: shardsList,
	}, showCommand, staleCommand, releaseCommand, quarantinedCommand, unquarantineCommand, exportDamagedCommand, sealCommand, importCommand, migrateCommand},
	Action: needSubcommand,
}

var stateFlag = &cli.StringSliceFlag{Name: "state", Aliases: []string{"s"}, Usage: "list only shards in `STATE`: standby, writing, full, packing, packed, cleaning, readonly or importing; repeat for several states (default: all)"}

var states = []sharedbase.ShardState{
	sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.StateFull, sharedbase.StatePacking,
	sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.StateReadOnly, sharedbase.StateImporting,
}

// chosenStates returns the states that --state names. No state stands for all.
func chosenStates(c *cli.Context) (chosen []sharedbase.ShardState, err error) {
	for _, name := range c.StringSlice(stateFlag.Name) {
		state := sharedbase.ShardState(name)
		if !slices.Contains(states, state) {
			return nil, daemon.UsageError("--state: found %q, must be one of %v", name, states)
		}
		chosen = append(chosen, state)
	}
	return chosen, nil
}

func shardsList(c *cli.Context) error {
	chosen, err := chosenStates(c)
	if err != nil {
		return err
	}
	if c.Bool("open") {
		if len(chosen) > 0 {
			return daemon.UsageError("--open and --state exclude each other")
		}
		chosen = slices.DeleteFunc(slices.Clone(states), func(s sharedbase.ShardState) bool { return s == sharedbase.StateReadOnly })
	}
	cfg, base, err := reading(c)
	if err != nil {
		return err
	}
	defer base.Close()
	shards, err := base.ListShards(c.Context, sharedbase.ShardFilter{States: chosen})
	if err != nil {
		return err
	}
	rows, err := rowsOf(c, base, shards)
	if err != nil {
		return err
	}
	for i := 0; i < len(rows) && c.Bool("long"); i++ {
		p, _ := cfg.Pool(rows[i].Pool)
		if err := rows[i].measure(c, base, p.ShardMaxSize); err != nil {
			return err
		}
	}
	return printRows(c, rows)
}

// shardRow is the printed line of a shard. Scripts read its JSON.
type shardRow struct {
	Name   string                `json:"name"`
	State  sharedbase.ShardState `json:"state"`
	Pool   string                `json:"pool"`
	Locker *uuid.UUID            `json:"locker"`          // null if the shard is not locked
	Since  *time.Time            `json:"since"`           // when the lock was taken, or its lease renewed
	Holder string                `json:"holder"`          // the process that has the lease; "" without a lease
	Until  *time.Time            `json:"until"`           // when the lease ends unless it is renewed
	Image  *imageHolder          `json:"image"`           // the process that changes the image, or null
	Hosts  []string              `json:"hosts"`           // the hosts that mapped the image
	Table  *tableSize            `json:"table,omitempty"` // with --long, if the shard has a table
}

// holder names the process that has the shard locked.
func (r shardRow) holder() string { return cmp.Or(r.Holder, "no lease: not Go Winery") }

// imageHolder is the process with the claim to an image: it erases, repairs or migrates.
type imageHolder struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"` // when the lease ends unless it is renewed
}

type tableSize struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	MaxSize int64 `json:"max_size"` // the pool's shard_max_size, 0 if it is not configured
}

func rowsOf(c *cli.Context, base *sharedbase.SharedBase, shards []sharedbase.Shard) ([]shardRow, error) {
	leases, err := base.Leases(c.Context)
	if err != nil {
		return nil, err
	}
	images, err := base.ImageLeases(c.Context)
	if err != nil {
		return nil, err
	}
	rows := make([]shardRow, len(shards))
	for i, s := range shards {
		rows[i] = rowOf(s)
		if l, ok := leases[s.Locker]; ok {
			rows[i].Holder, rows[i].Until = l.Holder(), &l.Expires
		}
		if l, ok := images[s.ID]; ok {
			rows[i].Image = &imageHolder{l.Holder(), l.Expires}
		}
	}
	return rows, nil
}

func rowOf(s sharedbase.Shard) shardRow {
	row := shardRow{Name: s.Name, State: s.State, Pool: s.Pool, Hosts: append([]string{}, s.MappedOn...)}
	if s.Locker != uuid.Nil {
		row.Locker = &s.Locker
	}
	if !s.LockedAt.IsZero() {
		row.Since = &s.LockedAt
	}
	return row
}

// measure sets r.Table.
func (r *shardRow) measure(c *cli.Context, base *sharedbase.SharedBase, maxSize int64) error {
	objects, bytes, err := base.TableSize(c.Context, r.Name)
	if errors.Is(err, sharedbase.ErrNoTable) {
		return nil
	}
	r.Table = &tableSize{objects, bytes, maxSize}
	return err
}

func (t *tableSize) String() string {
	if t == nil {
		return "-"
	}
	text := fmt.Sprintf("%s objects, %s", humanize.Comma(t.Objects), humanize.Bytes(uint64(t.Bytes)))
	if t.MaxSize > 0 {
		text += fmt.Sprintf(" (%.2f%%)", 100*float64(t.Bytes)/float64(t.MaxSize))
	}
	return text
}

// printRows prints shards in the format of --output.
func printRows(c *cli.Context, rows []shardRow) error {
	if asJSON(c) {
		return printJSON(c.App.Writer, rows)
	}
	return printShards(c.App.Writer, rows, c.Bool("long"))
}

func printShards(w io.Writer, rows []shardRow, long bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(table io.Writer, columns ...string) {
		if !long {
			columns = columns[:len(columns)-1]
		}
		_, _ = fmt.Fprintln(table, strings.Join(columns, "\t")) // an error comes back from Flush
	}
	line(table, "NAME", "STATE", "POOL", "LOCKER", "HOLDER", "SINCE", "IMAGE", "HOSTS", "TABLE")
	for _, r := range rows {
		locker, holder, since, image, hosts := "-", "-", "-", "-", "-"
		if r.Locker != nil {
			locker = r.Locker.String()
			holder = r.holder()
		}
		if r.Since != nil {
			since = r.Since.Local().Format(time.DateTime)
		}
		if r.Image != nil {
			image = r.Image.Holder
		}
		if len(r.Hosts) > 0 {
			hosts = strings.Join(r.Hosts, ",")
		}
		line(table, r.Name, string(r.State), r.Pool, locker, holder, since, image, hosts, r.Table.String())
	}
	return table.Flush()
}
