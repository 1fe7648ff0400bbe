// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	// releasing is how long a release is tried, when its context has ended too.
	releasing = 30 * time.Second
	// dropping is how long it is tried to drop a table that readers keep busy.
	dropping = 2 * time.Minute
)

// Claim is the right of its holder to a shard in a locked state. The locker
// that the database records is the claim's own, so that a claim that was taken
// away and given to another cannot be used any more, whoever tries.
// Its methods may be called from any number of goroutines.
type Claim struct {
	base   *SharedBase
	id     int64
	name   string
	pool   string
	locker uuid.UUID

	mu    sync.Mutex
	state ShardState
}

// Name is the shard's name.
func (c *Claim) Name() string { return c.name }

// ID is the shard's number.
func (c *Claim) ID() int64 { return c.id }

// Pool is the name of the pool that the shard's image is, or will be, in.
func (c *Claim) Pool() string { return c.pool }

// State is the state into which this claim has brought the shard. Once it is
// not a locked one, the claim is used up.
func (c *Claim) State() ShardState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// SetState moves the shard on, which uses up the claim. A transition that
// does not exist is refused; *StateError says that the shard is not ours any
// more. After ErrUnavailable the shard has moved or not: trying again gives
// nil, or *StateError with Found == to.
func (c *Claim) SetState(ctx context.Context, to ShardState) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.base.move(ctx, c.name, c.locker, c.state, to)
	if err == nil {
		c.state = to
	}
	return err
}

// Release gives the shard back: to the state that it was locked in. It does
// nothing where the claim is used up. When ctx has ended it goes on all the
// same, for up to half a minute while the database is unavailable.
// *StateError says that the shard was not ours any more, and is not back there.
func (c *Claim) Release(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.state.Locked() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasing)
	defer cancel()
	origin := origins[c.state]
	err := persist(ctx, releasing, func() error {
		err := c.base.move(ctx, c.name, c.locker, c.state, origin)
		var wrong *StateError
		if errors.As(err, &wrong) && wrong.Found == origin {
			return nil // by an earlier attempt, whose success we did not hear of
		}
		return err
	})
	if err == nil {
		c.state = origin
	}
	return err
}

// DropTable moves the shard from cleaning to readonly and drops its table, in
// one transaction: the table goes only if the shard is still ours. Dropping
// waits for readers of the table, and readers that come later wait for it:
// each attempt waits half a second only, and others follow for two minutes.
// Where all fail the error is ErrUnavailable, and nothing has changed.
func (c *Claim) DropTable(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := persist(ctx, dropping, func() error {
		return c.base.inTx(ctx, "dropping the table of shard "+c.name, func(ctx context.Context, tx pgx.Tx) error {
			if err := moveIn(ctx, tx, c.name, c.locker, c.state, StateReadOnly); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '500ms'; DROP TABLE IF EXISTS "+quoteTable(c.name))
			return err
		})
	})
	if err == nil {
		c.state = StateReadOnly
	}
	return err
}
