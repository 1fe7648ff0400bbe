// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/status"
	"winery/sharedbase"
)

var hostsCommand = &cli.Command{
	Name:      "hosts",
	Usage:     "list the hosts that mapped images or run roles, and forget a host that is gone",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{{
		Name:   "list",
		Usage:  "list the hosts, with the number of images they mapped, their roles, and their last heartbeat",
		Flags:  []cli.Flag{outputFlag},
		Before: noArguments,
		Action: hostsList,
	}, {
		Name:      "forget",
		Usage:     "remove a host that is gone from the hosts that mapped images",
		ArgsUsage: "HOST",
		Description: "Until it is forgotten, a host that is gone counts for --min-mapped-hosts of winery-cleaner. The command refuses a host if one of its processes\n" +
			"has sent a heartbeat within the last minute or has a lease. Processes of Python Winery send no heartbeats: make sure first\n" +
			"that the host is gone. A host that was forgotten by mistake records its images again. An interrupted command continues when\n" +
			"you start it again.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "min-mapped-hosts", Value: 1, Usage: "count the shards that then lack hosts for winery-cleaner --min-mapped-hosts `N`"},
			&cli.BoolFlag{Name: "force", Usage: "DESTRUCTIVE: also forget a host that is in use; tables are then kept until its mapper has recorded its images again"},
			outputFlag,
		},
		Action: hostsForget,
	}},
	Action: needSubcommand,
}

// hostRow is the printed line of a host. Scripts read its JSON.
type hostRow struct {
	Name     string     `json:"name"`
	Running  bool       `json:"running"`   // a heartbeat came within the last minute
	LastSeen *time.Time `json:"last_seen"` // the last heartbeat; null: the roles were stopped, or sent none for a day
	Roles    []string   `json:"roles"`     // of its processes, also of dead ones
	Leases   int64      `json:"leases"`    // of its processes, not expired
	Mapped   int64      `json:"mapped"`    // shards that count the host for --min-mapped-hosts
}

func hostsList(c *cli.Context) error {
	_, base, err := changing(c) // the tables winery_* have most of what is listed
	if err != nil {
		return err
	}
	defer base.Close()
	hosts, err := base.Hosts(c.Context)
	if err != nil {
		return err
	}
	rows := make([]hostRow, len(hosts))
	for i, h := range hosts {
		rows[i] = hostRow{h.Name, h.Running(), nil, h.Roles, h.Leases, h.Mapped}
		if !h.LastSeen.IsZero() {
			rows[i].LastSeen = &h.LastSeen
		}
	}
	if asJSON(c) {
		return printJSON(c.App.Writer, rows)
	}
	return printTable(c.App.Writer, "HOST\tLAST SEEN\tROLES\tLEASES\tIMAGES MAPPED", func(row func(string, ...any)) {
		for _, h := range hosts {
			seen := "no heartbeat"
			if !h.LastSeen.IsZero() {
				seen = status.Age(h.Unseen) + " ago"
			}
			roles := "-"
			if len(h.Roles) > 0 {
				roles = strings.Join(h.Roles, ", ")
			}
			row("%s\t%s\t%s\t%d\t%s", h.Name, seen, roles, h.Leases, humanize.Comma(h.Mapped))
		}
	})
}

// checkHost returns an error if the database does not know the host, whose name may be misspelt.
func checkHost(ctx context.Context, base *sharedbase.SharedBase, host string) error {
	hosts, err := base.Hosts(ctx)
	if err != nil {
		return err
	}
	leases, err := base.Leases(ctx) // also of shards whose lease has expired
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(hosts, func(h sharedbase.Host) bool { return h.Name == host })
	for _, l := range leases {
		known = known || l.Host == host
	}
	if known {
		return nil
	}
	return fmt.Errorf("no shard, process or lease names host %s; see `wineryctl hosts list`", host)
}

func hostsForget(c *cli.Context) error {
	if c.NArg() != 1 {
		return daemon.UsageError("hosts forget takes the name of one HOST; see `wineryctl hosts list`")
	}
	_, base, err := changing(c)
	if err != nil {
		return err
	}
	defer base.Close()
	host, hosts := c.Args().First(), c.Int("min-mapped-hosts")
	if err := checkHost(c.Context, base, host); err != nil {
		return err
	}
	f, err := base.ForgetHost(c.Context, host, hosts, c.Bool("force"))
	if errors.As(err, new(*sharedbase.HostInUseError)) {
		err = fmt.Errorf("%w; stop the roles on the host, or use --force", err)
	}
	if err != nil && f.Shards == 0 {
		return err
	}
	var printErr error // also what was done before an error
	if asJSON(c) {
		printErr = printJSON(c.App.Writer, map[string]any{"host": host, "shards": f.Shards, "lacking": f.Lacking})
	} else {
		_, printErr = fmt.Fprintf(c.App.Writer, "host %s: removed from %s shards; %s shards with a table have now been mapped by fewer than %d hosts\n",
			host, humanize.Comma(f.Shards), humanize.Comma(f.Lacking), hosts)
	}
	return errors.Join(err, printErr)
}
