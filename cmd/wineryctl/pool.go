// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/internal/inventory"
	"winery/internal/storage"
	"winery/pool"
	"winery/sharedbase"
)

var poolCommand = &cli.Command{
	Name:      "pool",
	Usage:     "initialise pools, and change the database that owns a pool",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{
		{
			Name: "list", Usage: "list the configured pools and the state of their markers",
			Flags: []cli.Flag{outputFlag}, Before: noArguments, Action: poolList,
		},
		{
			Name: "init", Usage: "create the folder and the marker of a pool", ArgsUsage: "NAME",
			Description: "The marker identifies the pool and the database that owns the pool. Roles refuse a pool that another database owns.\n" +
				"The command refuses a pool if images are missing that the database records there: the file system may not be mounted.",
			Action: poolInit,
		},
		{
			Name: "adopt", Usage: "DESTRUCTIVE if another database uses the pool: make this database the owner", ArgsUsage: "NAME",
			Description: "Use this command after a restore: the database was dumped and restored, upgraded by pg_upgrade, or lost and created\n" +
				"again, and the old database is never started again. Do not use this command for a copy of the database, for example\n" +
				"a test copy: both databases would pack into the pool and erase from it, and objects would be lost. Afterwards, roles\n" +
				"of the old database refuse the pool. Next, run `wineryctl index reconcile`.\n" +
				"The command refuses a pool whose UUID is not the one that the database recorded, and a pool that lacks images that the\n" +
				"database has in it: the file system of another fleet may be mounted.",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "yes", Usage: "adopt the pool; without --yes, print why the pool is not owned and change nothing"},
				&cli.BoolFlag{Name: "replace-identity", Usage: "DESTRUCTIVE: with --yes, also adopt a pool with another UUID, or without some images; if it is the pool of another fleet, the roles of that fleet can no longer use the pool"},
			},
			Action: poolAdopt,
		},
	},
	Action: needSubcommand,
}

// poolRow is the printed line of a pool.
type poolRow struct {
	Name    string                `json:"name"`
	Type    config.PoolType       `json:"type"`
	State   storage.IdentityState `json:"state"`   // "unavailable" if the store does not answer
	UUID    *uuid.UUID            `json:"uuid"`    // of the marker; null without a marker
	Adopted *time.Time            `json:"adopted"` // null: the database has no record
	Error   string                `json:"error,omitempty"`
}

// poolLimit is how long a store may take to answer.
const poolLimit = 15 * time.Second

func poolList(c *cli.Context) error {
	cfg, base, err := reading(c)
	if err != nil {
		return err
	}
	defer base.Close()
	set := storage.OpenToReport(cfg.Pools) // not closed: that would wait for a store that hangs
	rows := make([]poolRow, len(cfg.Pools))
	for i, p := range cfg.Pools {
		identity, err := storage.IdentifyWithin(c.Context, poolLimit, base, set[p.Name])
		rows[i] = poolRow{Name: p.Name, Type: p.Type, State: identity.State}
		if identity.State != storage.Recorded {
			rows[i].Error = reason(identity, err)
		}
		if id := identity.Marker.UUID; id != uuid.Nil {
			rows[i].UUID = &id
		}
		if at := identity.Record.Adopted; !at.IsZero() {
			rows[i].Adopted = &at
		}
	}
	if asJSON(c) {
		return printJSON(c.App.Writer, rows)
	}
	return printPools(c, rows)
}

func printPools(c *cli.Context, rows []poolRow) error {
	err := printTable(c.App.Writer, "NAME\tTYPE\tSTATE\tUUID\tADOPTED", func(row func(string, ...any)) {
		for _, r := range rows {
			id, adopted := "-", "-"
			if r.UUID != nil {
				id = r.UUID.String()
			}
			if r.Adopted != nil {
				adopted = r.Adopted.Local().Format(time.DateTime)
			}
			row("%s\t%s\t%s\t%s\t%s", r.Name, r.Type, r.State, id, adopted)
		}
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Error != "" {
			_, _ = fmt.Fprintln(c.App.ErrWriter, r.Error)
		}
	}
	return nil
}

// namedPool returns the configured pool that the only argument of the command names.
func namedPool(c *cli.Context, cfg *config.Config) (config.Pool, error) {
	if c.NArg() != 1 {
		return config.Pool{}, daemon.UsageError("pool %s takes the NAME of one pool", c.Command.Name)
	}
	p, ok := cfg.Pool(c.Args().First())
	if !ok {
		return p, notConfigured(cfg, "NAME", c.Args().First())
	}
	return p, nil
}

func poolInit(c *cli.Context) error {
	cfg, base, err := changing(c)
	if err != nil {
		return err
	}
	defer base.Close()
	p, err := namedPool(c, cfg)
	if err != nil {
		return err
	}
	return initPools(c, base, []config.Pool{p})
}

// initPools initialises pools. It continues after a failure.
func initPools(c *cli.Context, base *sharedbase.SharedBase, pools []config.Pool) (err error) {
	set, err := storage.Open(pools, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	var errs []error
	for _, p := range pools {
		errs = append(errs, initOne(c, base, set[p.Name]))
	}
	return errors.Join(errs...)
}

func initOne(c *cli.Context, base *sharedbase.SharedBase, p pool.Pool) error {
	done, differs, err := storage.Init(c.Context, base, p)
	if err != nil {
		return err
	}
	what := "initialised already"
	if done {
		what = "initialised"
	}
	_, err = fmt.Fprintf(c.App.Writer, "pool %s: %s%s\n", p.Name(), what, unknown(differs))
	return err
}

// unknown describes the images that the database does not know, with the cure.
func unknown(d inventory.Difference) string {
	n := len(d.Unknown) + len(d.Unpacked)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d images are unknown to the database, or of shards that are not packed in the database: see `wineryctl index reconcile --dry-run`", n)
}

// reason returns why the database does not own the pool.
func reason(i storage.Identity, err error) string {
	if err := errors.Join(err, i.Why); err != nil {
		return err.Error()
	}
	return string(i.State)
}

func poolAdopt(c *cli.Context) (err error) {
	cfg, base, err := changing(c)
	if err != nil {
		return err
	}
	defer base.Close()
	configured, err := namedPool(c, cfg)
	if err != nil {
		return err
	}
	set, err := storage.Open([]config.Pool{configured}, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	p := set[configured.Name]
	identity, err := storage.Identify(c.Context, base, p)
	switch {
	case err == nil && identity.State == storage.Recorded:
		_, err = fmt.Fprintf(c.App.Writer, "pool %s: owned by this database already\n", p.Name())
		return err
	case err != nil && !errors.As(err, new(*storage.RefusedError)):
		return err
	case !c.Bool("yes"):
		return fmt.Errorf("pool %s: %s\nWith --yes, this database becomes the owner of the pool. Make sure that no other database uses the pool; see --help", p.Name(), reason(identity, err))
	}
	_, _ = fmt.Fprintf(c.App.ErrWriter, "pool %s: %s\n", p.Name(), reason(identity, err))
	differs, err := storage.Adopt(c.Context, base, p, c.Bool("replace-identity"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "pool %s: adopted%s\n", p.Name(), unknown(differs))
	if err == nil && len(differs.Missing) > 0 {
		err = fmt.Errorf("pool %s: %d images that the database records there are missing, the first is %s; run `wineryctl index reconcile`, which finds migrated ones, then `wineryctl verify --pool-name %[1]s`",
			p.Name(), len(differs.Missing), differs.Missing[0])
	}
	return err
}
