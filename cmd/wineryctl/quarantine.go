// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var quarantinedCommand = &cli.Command{
	Name:   "quarantined",
	Usage:  "list the shards in which something does not fit, and which nobody works on until they are unquarantined",
	Flags:  []cli.Flag{outputFlag},
	Before: noArguments,
	Action: shardsQuarantined,
}

var unquarantineCommand = &cli.Command{
	Name:        "unquarantine",
	Usage:       "let a quarantined shard go on",
	ArgsUsage:   "NAME",
	Description: "It changes nothing else: `wineryctl verify --repair --shard NAME` unquarantines it once it is well.",
	Action:      shardsUnquarantine,
}

// quarantinedRow is a quarantined shard as it is printed.
type quarantinedRow struct {
	Name   string                `json:"name"`
	State  sharedbase.ShardState `json:"state"`
	Pool   string                `json:"pool"`
	At     time.Time             `json:"at"`
	Role   string                `json:"role"` // that quarantined it
	Host   string                `json:"host"`
	Reason string                `json:"reason"`
}

func shardsQuarantined(c *cli.Context) error {
	json, err := asJSON(c)
	if err != nil {
		return err
	}
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
		rows[i] = quarantinedRow{p.Shard.Name, p.Shard.State, p.Shard.Pool, p.At, p.Role, p.Host, p.Reason}
	}
	if json {
		return printJSON(c.App.Writer, rows)
	}
	table := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tSTATE\tPOOL\tSINCE\tBY\tREASON") // an error comes back from Flush
	for _, r := range rows {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s on %s\t%s\n",
			r.Name, r.State, r.Pool, r.At.Local().Format(time.DateTime), r.Role, r.Host, r.Reason)
	}
	return table.Flush()
}

func shardsUnquarantine(c *cli.Context) error {
	if c.NArg() != 1 {
		return daemon.UsageError("unquarantine takes one shard's NAME")
	}
	_, base, err := changing(c)
	if err != nil {
		return err
	}
	defer base.Close()
	return base.Unquarantine(c.Context, c.Args().First())
}
