// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
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
	Name:  "pool",
	Usage: "initialise pools, and see whose they are",
	Subcommands: []*cli.Command{
		{
			Name: "list", Usage: "list the configured pools, with the state of their markers",
			Flags: []cli.Flag{outputFlag}, Before: noArguments, Action: poolList,
		},
		{
			Name: "init", Usage: "make a pool's folder and marker", ArgsUsage: "NAME",
			Description: "The marker names the pool and the database that owns it; no role works in a pool with another's. A pool that\n" +
				"lacks images that the database has in it is refused: its file system may not be mounted.",
			Action: poolInit,
		},
		{
			Name: "adopt", Usage: "DESTRUCTIVE if another database uses the pool: make it this database's", ArgsUsage: "NAME",
			Description: "This is right after a restore: the database was dumped and restored, upgraded by pg_upgrade, or lost and made\n" +
				"again, and the old one is never started again. It is wrong for a copy of the database, for tests say: both would pack\n" +
				"into the pool and erase in it, and objects would be lost. Roles of the old database refuse the pool afterwards. Run\n" +
				"\"wineryctl index reconcile\" next.",
			Flags:  []cli.Flag{&cli.BoolFlag{Name: "yes", Usage: "do it; without it the command tells what it would do"}},
			Action: poolAdopt,
		},
	},
	Action: needSubcommand,
}

// poolRow is a pool as it is printed.
type poolRow struct {
	Name    string                `json:"name"`
	Type    config.PoolType       `json:"type"`
	State   storage.IdentityState `json:"state"`   // "unavailable" where the store does not answer
	UUID    *uuid.UUID            `json:"uuid"`    // of the marker; null: none
	Adopted *time.Time            `json:"adopted"` // null: the database has no record
	Error   string                `json:"error,omitempty"`
}

func poolList(c *cli.Context) (err error) {
	json, err := asJSON(c)
	if err != nil {
		return err
	}
	cfg, base, err := reading(c)
	if err != nil {
		return err
	}
	defer base.Close()
	set, err := storage.Open(cfg.Pools, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	rows := make([]poolRow, len(cfg.Pools))
	for i, p := range cfg.Pools {
		identity, err := identify(c.Context, base, set[p.Name])
		rows[i] = poolRow{Name: p.Name, Type: p.Type, State: identity.State}
		if err != nil {
			rows[i].State = "unavailable"
		}
		if identity.State != storage.Ours {
			rows[i].Error = reason(identity, err)
		}
		if id := identity.Marker.UUID; id != uuid.Nil {
			rows[i].UUID = &id
		}
		if at := identity.Record.Adopted; !at.IsZero() {
			rows[i].Adopted = &at
		}
	}
	if json {
		return printJSON(c.App.Writer, rows)
	}
	return printPools(c, rows)
}

// identify is [storage.Identify] for a store that may not answer.
func identify(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool) (i storage.Identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	done := make(chan struct{})
	var found storage.Identity
	var failed error
	go func() {
		defer close(done)
		found, failed = storage.Identify(ctx, base, p)
	}()
	select {
	case <-done:
		return found, failed
	case <-ctx.Done():
		return i, fmt.Errorf("pool %q: the store does not answer: %w", p.Name(), ctx.Err())
	}
}

func printPools(c *cli.Context, rows []poolRow) error {
	table := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tTYPE\tSTATE\tUUID\tADOPTED") // an error comes back from Flush
	for _, r := range rows {
		id, adopted := "-", "-"
		if r.UUID != nil {
			id = r.UUID.String()
		}
		if r.Adopted != nil {
			adopted = r.Adopted.Local().Format(time.DateTime)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.Name, r.Type, r.State, id, adopted)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Error != "" {
			_, _ = fmt.Fprintln(c.App.ErrWriter, r.Error)
		}
	}
	return nil
}

// namedPool is the configured pool that the command's one argument names.
func namedPool(c *cli.Context, cfg *config.Config) (config.Pool, error) {
	if c.NArg() != 1 {
		return config.Pool{}, daemon.UsageError("pool %s takes one pool's NAME", c.Command.Name)
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

// initPools initialises pools. One that fails does not stop the others.
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

// unknown says what a pool has beside what the database knows, and the cure.
func unknown(d inventory.Difference) string {
	n := len(d.Unknown) + len(d.Unpacked)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; it has %d images that the database does not know or has not packed: see \"wineryctl index reconcile --dry-run\"", n)
}

// reason tells why a pool is not the database's yet.
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
	case err == nil && identity.State == storage.Ours:
		_, err = fmt.Fprintf(c.App.Writer, "pool %s: is this database's already\n", p.Name())
		return err
	case err != nil && !errors.As(err, new(*storage.RefusedError)):
		return err
	case !c.Bool("yes"):
		return fmt.Errorf("pool %s: %s\nWith --yes it becomes this database's. Be sure that no other database uses it; see --help", p.Name(), reason(identity, err))
	}
	if err := storage.Adopt(c.Context, base, p); err != nil {
		return err
	}
	differs, err := inventory.Compare(c.Context, base, p)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "pool %s: adopted%s\n", p.Name(), unknown(differs))
	if err == nil && len(differs.Missing) > 0 {
		err = fmt.Errorf("pool %s lacks %d images that the database has in it, %s first: see \"wineryctl verify --pool %[1]s\"",
			p.Name(), len(differs.Missing), differs.Missing[0])
	}
	return err
}
