// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"

	"github.com/dustin/go-humanize/english"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var dbCommand = &cli.Command{
	Name:      "db",
	Usage:     "set up and upgrade the database, and its users",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{
		{
			Name: "init", Usage: "create the schema in an empty database, or only the tables winery_* in one of Python Winery, and initialise the configured pools",
			Flags:  []cli.Flag{indexPartitions},
			Before: noArguments, Action: dbInit,
		},
		{Name: "version", Usage: "print the schema version of the database", Before: noArguments, Action: dbVersion},
		upgradeCommand,
		{
			Name:  "tune",
			Usage: "have PostgreSQL compress the contents in the tables of new shards by lz4",
			Description: "A database that Python Winery made compresses by pglz, which takes several times the CPU. db init and db upgrade do the\n" +
				"same. Tables that exist stay as they are. The user must own the table shard_template.",
			Before: noArguments,
			Action: dbTune,
		},
		grantsCommand,
	},
	Action: needSubcommand,
}

// needSubcommand is the action of a command that only groups others. urfave/cli v2 would print the help, with status 0.
func needSubcommand(c *cli.Context) error {
	if c.Args().Present() {
		return daemon.UnknownCommand(c)
	}
	return daemon.UsageError("%s needs a command; see %s %s --help", c.Command.Name, c.App.Name, c.Command.Name)
}

// noArguments is the Before of commands that take no arguments. urfave/cli v2 ignores superfluous arguments.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return daemon.UsageError("unexpected argument %q; see --help", c.Args().First())
	}
	return nil
}

var indexPartitions = &cli.IntFlag{
	Name: "index-partitions", Value: 1,
	Usage: "divide the index of objects into `N` tables, for many billions of objects",
}

func dbInit(c *cli.Context) error {
	partitions := c.Int(indexPartitions.Name)
	if partitions < 1 || partitions > sharedbase.MaxIndexPartitions {
		return daemon.UsageError("--%s: found %d, must be from 1 to %d", indexPartitions.Name, partitions, sharedbase.MaxIndexPartitions)
	}
	cfg, base, err := configured(c)
	if err != nil {
		return err
	}
	defer base.Close()
	created, err := base.Init(c.Context, sharedbase.WithIndexPartitions(partitions))
	if err != nil {
		return err
	}
	if !created && c.IsSet(indexPartitions.Name) {
		if err := havePartitions(c, base, partitions); err != nil {
			return err
		}
	}
	what := "schema exists already"
	if created {
		what = "schema created"
	}
	if _, err = fmt.Fprintf(c.App.Writer, "%s: version %d\n", what, sharedbase.SchemaVersion); err != nil {
		return err
	}
	return initPools(c, base, cfg.Pools)
}

// havePartitions fails unless the index of a schema that existed has so many partitions.
func havePartitions(c *cli.Context, base *sharedbase.SharedBase, want int) error {
	n, err := base.IndexPartitions(c.Context)
	if err == nil && n != want {
		err = fmt.Errorf("--%s: the schema exists already, and its index is %s; an index is divided only when the schema is created",
			indexPartitions.Name, english.Plural(n, "table", ""))
	}
	return err
}

func dbTune(c *cli.Context) error {
	_, base, err := reading(c)
	if err != nil {
		return err
	}
	defer base.Close()
	if err := base.Tune(c.Context); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, "the contents in the tables of new shards are compressed by lz4")
	return err
}

func dbVersion(c *cli.Context) error {
	_, base, err := configured(c)
	if err != nil {
		return err
	}
	defer base.Close()
	version, err := base.Version(c.Context)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, version)
	return err
}
