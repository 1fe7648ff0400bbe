// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var shardsCommand = &cli.Command{
	Name:  "shards",
	Usage: "look at shards",
	Subcommands: []*cli.Command{{
		Name:  "list",
		Usage: "list the shards, oldest first",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "state", Aliases: []string{"s"}, Usage: "only those in `STATE`; may be given more than once"},
			&cli.StringFlag{Name: "output", Value: "table", Usage: "`FORMAT`: table or json"},
		},
		Before: noArguments,
		Action: shardsList,
	}},
	Action: needSubcommand,
}

var states = []sharedbase.ShardState{
	sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.StateFull, sharedbase.StatePacking,
	sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.StateReadOnly, sharedbase.StateImporting,
}

func shardsList(c *cli.Context) error {
	var filter sharedbase.ShardFilter
	for _, name := range c.StringSlice("state") {
		state := sharedbase.ShardState(name)
		if !slices.Contains(states, state) {
			return daemon.UsageError("--state: found %q, must be one of %v", name, states)
		}
		filter.States = append(filter.States, state)
	}
	print, ok := map[string]func(io.Writer, []shardRow) error{"table": printTable, "json": printJSON}[c.String("output")]
	if !ok {
		return daemon.UsageError("--output: found %q, must be table or json", c.String("output"))
	}
	base, err := database(c)
	if err != nil {
		return err
	}
	defer base.Close()
	shards, err := base.ListShards(c.Context, filter)
	if err != nil {
		return err
	}
	rows := make([]shardRow, len(shards))
	for i, s := range shards {
		rows[i] = rowOf(s)
	}
	return print(c.App.Writer, rows)
}

// shardRow is a shard as it is printed. Scripts read its JSON.
type shardRow struct {
	Name   string                `json:"name"`
	State  sharedbase.ShardState `json:"state"`
	Pool   string                `json:"pool"`
	Locker *uuid.UUID            `json:"locker"` // null: not locked
	Since  *time.Time            `json:"since"`  // when it was locked
	Hosts  []string              `json:"hosts"`  // that mapped the image
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

func printJSON(w io.Writer, rows []shardRow) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(rows)
}

func printTable(w io.Writer, rows []shardRow) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tSTATE\tPOOL\tLOCKER\tSINCE\tHOSTS") // an error comes back from Flush
	for _, r := range rows {
		locker, since, hosts := "-", "-", "-"
		if r.Locker != nil {
			locker = r.Locker.String()
		}
		if r.Since != nil {
			since = r.Since.Local().Format(time.DateTime)
		}
		if len(r.Hosts) > 0 {
			hosts = strings.Join(r.Hosts, ",")
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.State, r.Pool, locker, since, hosts)
	}
	return table.Flush()
}
