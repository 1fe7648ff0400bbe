// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/sharedbase"
)

var upgradeCommand = &cli.Command{
	Name:  "upgrade",
	Usage: fmt.Sprintf("bring an older database to schema version %d; stop every role before, Python's too", sharedbase.SchemaVersion),
	Description: "Each version is a step, and each step a transaction: after a stop, the same command goes on.\n" +
		"The database of swh.objstorage 6.2.0 and older does not say in which pool its shards are: --pool-name does.",
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "pool-name", Usage: "the pool `NAME` that every shard is in, needed to come from version 3 or older"},
		&cli.BoolFlag{Name: "dry-run", Usage: "change nothing; print the SQL, fit for psql"},
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
	if err := isPool(cfg, poolName); err != nil {
		return err
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

// isPool complains of a pool that is not configured: nobody could read shards that were said to be in it.
func isPool(cfg *config.Config, name string) error {
	var names []string
	for _, p := range cfg.Pools {
		if names = append(names, p.Name); p.Name == name {
			return nil
		}
	}
	if name == "" {
		return nil
	}
	return daemon.UsageError("--pool-name: found %q, but the configured pools are %q", name, names)
}

func printUpgrade(c *cli.Context, base *sharedbase.SharedBase, poolName string) error {
	steps, err := base.PlanUpgrade(c.Context, poolName)
	for _, step := range steps {
		if _, err := fmt.Fprintf(c.App.Writer, "BEGIN;\n\n%s\nCOMMIT;\n\n", step.SQL); err != nil {
			return err
		}
	}
	if err == nil && len(steps) == 0 {
		_, err = fmt.Fprintf(c.App.Writer, "-- nothing to do: schema version %d\n", sharedbase.SchemaVersion)
	}
	return err
}
