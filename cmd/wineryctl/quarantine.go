// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var quarantinedCommand = &cli.Command{
	Name:   "quarantined",
	Usage:  "list the quarantined shards, whose index, table and image are not consistent",
	Flags:  []cli.Flag{outputFlag},
	Before: noArguments,
	Action: shardsQuarantined,
}

var unquarantineCommand = &cli.Command{
	Name:        "unquarantine",
	Usage:       "end the quarantine of a shard without repairing it",
	ArgsUsage:   "NAME",
	Description: "Nothing else is changed. To repair a shard and end its quarantine, run `wineryctl verify --repair --shard NAME` instead.",
	Action:      shardsUnquarantine,
}

// quarantinedRow is the printed line of a quarantined shard.
type quarantinedRow struct {
	Name   string                `json:"name"`
	State  sharedbase.ShardState `json:"state"`
	Pool   string                `json:"pool"`
	At     time.Time             `json:"at"`
	Role   string                `json:"role"` // the role that quarantined the shard
	Host   string                `json:"host"`
	Reason string                `json:"reason"`
}

func quarantinedRowOf(q sharedbase.Quarantined) quarantinedRow {
	return quarantinedRow{q.Shard.Name, q.Shard.State, q.Shard.Pool, q.At, q.Role, q.Host, q.Reason}
}

func shardsQuarantined(c *cli.Context) error {
	_, base, err := reading(c)
	if err != nil {
		return err
	}
	defer base.Close()
	quarantined, err := base.QuarantinedShards(c.Context)
	if err != nil {
		return err
	}
	rows := make([]quarantinedRow, len(quarantined))
	for i, p := range quarantined {
		rows[i] = quarantinedRowOf(p)
	}
	if asJSON(c) {
		return printJSON(c.App.Writer, rows)
	}
	return printTable(c.App.Writer, "NAME\tSTATE\tPOOL\tSINCE\tBY\tREASON", func(row func(string, ...any)) {
		for _, r := range rows {
			row("%s\t%s\t%s\t%s\t%s on %s\t%s",
				r.Name, r.State, r.Pool, r.At.Local().Format(time.DateTime), r.Role, r.Host, r.Reason)
		}
	})
}

func shardsUnquarantine(c *cli.Context) error {
	if c.NArg() != 1 {
		return daemon.UsageError("unquarantine takes the NAME of one shard")
	}
	_, base, err := changing(c)
	if err != nil {
		return err
	}
	defer base.Close()
	return base.Unquarantine(c.Context, c.Args().First())
}
