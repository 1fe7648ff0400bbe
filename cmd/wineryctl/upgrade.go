// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/sharedbase"
)

var upgradeCommand = &cli.Command{
	Name:  "upgrade",
	Usage: fmt.Sprintf("upgrade an older database to schema version %d; first stop all roles, also those of Python Winery", sharedbase.SchemaVersion),
	Description: "Each version is one step, and each step is one transaction. Then the tables, functions and triggers winery_* that are\n" +
		"missing are created. Run an interrupted upgrade again to continue.\n" +
		"A database of swh.objstorage 6.2.0 or older does not record the pool of its shards: give the pool with --pool-name.",
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "pool-name", Usage: "record pool `NAME` for every shard; required to upgrade from version 3 or older"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print the SQL for psql, and change nothing"},
	},
	Before: noArguments,
	Action: dbUpgrade,
}

func dbUpgrade(c *cli.Context) error {
	cfg, base, err := configured(c)
	if err != nil {
		return err
	}
	defer base.Close()
	poolName := c.String("pool-name")
	if _, ok := cfg.Pool(poolName); !ok && poolName != "" {
		return notConfigured(cfg, "--pool-name", poolName) // its shards could not be read
	}
	if c.Bool("dry-run") {
		return printUpgrade(c, base, poolName)
	}
	if err := base.Upgrade(c.Context, poolName, func(s sharedbase.UpgradeStep) {
		_, _ = fmt.Fprintf(c.App.Writer, "database upgraded: schema version %d\n", s.Version)
	}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "database is up to date: schema version %d\n", sharedbase.SchemaVersion)
	return err
}

func printUpgrade(c *cli.Context, base *sharedbase.SharedBase, poolName string) error {
	transactions, err := planUpgrade(c.Context, base, poolName)
	for _, sql := range transactions {
		if _, err := fmt.Fprintf(c.App.Writer, "BEGIN;\n\n%s\nCOMMIT;\n\n", sql); err != nil {
			return err
		}
	}
	if err == nil && len(transactions) == 0 {
		_, err = fmt.Fprintf(c.App.Writer, "-- nothing to do: schema version %d\n", sharedbase.SchemaVersion)
	}
	return err
}

// planUpgrade returns the SQL of the transactions of an upgrade.
func planUpgrade(ctx context.Context, base *sharedbase.SharedBase, poolName string) (transactions []string, err error) {
	steps, err := base.PlanUpgrade(ctx, poolName)
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		transactions = append(transactions, step.SQL)
	}
	last := []func(context.Context) (string, error){base.PlanTune, base.PlanAttach}
	if len(steps) == 0 {
		last = last[1:]
	}
	for _, plan := range last {
		sql, err := plan(ctx)
		if err != nil {
			return nil, err
		}
		if sql != "" {
			transactions = append(transactions, sql)
		}
	}
	return transactions, nil
}
