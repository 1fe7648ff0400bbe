// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DefaultConnections is how many connections a SharedBase has at most without WithConnections.
const DefaultConnections = 24

// MinConnections is the least that WithConnections takes: one for each kind of work, the keeper of leases, and Listen.
const MinConnections = 7

// connections are those of a SharedBase, by kind of work, each kind with its own bound. Work of one kind that waits,
// such as deletes of objects whose rows another transaction has locked, does not use the connections of other kinds.
// A goroutine that has a connection of one kind takes no second one of that kind before it has released the first,
// only of other kinds.
type connections struct {
	lookups *pgxpool.Pool // short reads, for which a client waits
	adds    *pgxpool.Pool
	deletes *pgxpool.Pool // of objects, and the end of deleted ones
	lists   *pgxpool.Pool // reads of as much as there is: tables, indexes, lists; imports
	keeper  *pgxpool.Pool // renewals of leases: one connection
	rest    *pgxpool.Pool // claims, transitions, quarantine
}

// open prepares the pools of connections, limit of them together with the one of Listen, streams more for lists, and as
// many as adders lacks for adds. None connects yet.
func (c *connections) open(cfg *pgxpool.Config, pooler *pooler, limit, streams, adders int) error {
	if limit < MinConnections {
		return fmt.Errorf("%d connections to the database are too few: at least %d are needed", limit, MinConnections)
	}
	const fixed = 2 // the keeper's, and Listen's
	for _, p := range []struct {
		pool  **pgxpool.Pool
		share int // of 22 connections
	}{{&c.lookups, 8}, {&c.adds, 6}, {&c.deletes, 2}, {&c.lists, 3}, {&c.rest, 3}, {&c.keeper, 0}} {
		own := cfg.Copy()
		own.MaxConns = int32(max(1, p.share*(limit-fixed)/(DefaultConnections-fixed)))
		var more settings
		switch p.pool {
		case &c.lookups:
			more = lookupSettings
		case &c.lists:
			own.MaxConns += int32(streams)
		case &c.adds:
			own.MaxConns = max(own.MaxConns, int32(adders))
		}
		own.BeforeConnect = func(ctx context.Context, cfg *pgx.ConnConfig) error { return pooler.prepare(ctx, cfg, more) }
		pool, err := pgxpool.NewWithConfig(context.Background(), own)
		if err != nil {
			return err
		}
		*p.pool = pool
	}
	return nil
}

func (c *connections) all() []*pgxpool.Pool {
	return []*pgxpool.Pool{c.lookups, c.adds, c.deletes, c.lists, c.keeper, c.rest}
}

// close waits for the operations in flight.
func (c *connections) close() {
	for _, p := range c.all() {
		p.Close()
	}
}

// reset replaces each connection by a new one, once it is not in use.
func (c *connections) reset() {
	for _, p := range c.all() {
		p.Reset()
	}
}
