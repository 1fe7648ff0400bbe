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

var parkedCommand = &cli.Command{
	Name:   "parked",
	Usage:  "list the shards in which something does not fit, and which nobody works on until they are unparked",
	Flags:  []cli.Flag{outputFlag},
	Before: noArguments,
	Action: shardsParked,
}

var unparkCommand = &cli.Command{
	Name:        "unpark",
	Usage:       "let a parked shard go on",
	ArgsUsage:   "NAME",
	Description: "It changes nothing else: `wineryctl verify --repair --shard NAME` unparks it once it is well.",
	Action:      shardsUnpark,
}

// parkedRow is a parked shard as it is printed.
type parkedRow struct {
	Name   string                `json:"name"`
	State  sharedbase.ShardState `json:"state"`
	Pool   string                `json:"pool"`
	At     time.Time             `json:"at"`
	Role   string                `json:"role"` // that parked it
	Host   string                `json:"host"`
	Reason string                `json:"reason"`
}

func shardsParked(c *cli.Context) error {
	json, err := asJSON(c)
	if err != nil {
		return err
	}
	_, base, err := attached(c)
	if err != nil {
		return err
	}
	defer base.Close()
	parked, err := base.ParkedShards(c.Context)
	if err != nil {
		return err
	}
	rows := make([]parkedRow, len(parked))
	for i, p := range parked {
		rows[i] = parkedRow{p.Shard.Name, p.Shard.State, p.Shard.Pool, p.At, p.Role, p.Host, p.Reason}
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

func shardsUnpark(c *cli.Context) error {
	if c.NArg() != 1 {
		return daemon.UsageError("unpark takes one shard's NAME")
	}
	_, base, err := attached(c)
	if err != nil {
		return err
	}
	defer base.Close()
	return base.Unpark(c.Context, c.Args().First())
}
