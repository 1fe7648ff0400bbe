// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// releaseTimeout bounds a release, which goes on when its context has ended.
const releaseTimeout = 10 * time.Second

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
// nothing where the claim is used up, and goes on, for some seconds, when ctx
// has ended. *StateError says that the shard was not ours any more.
func (c *Claim) Release(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.state.Locked() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	err := c.base.move(ctx, c.name, c.locker, c.state, origins[c.state])
	if err == nil {
		c.state = origins[c.state]
	}
	return err
}

// dropTries bounds the attempts to drop a table that readers keep busy.
const dropTries = 20

// DropTable moves the shard from cleaning to readonly and drops its table, in
// one transaction: the table goes only if the shard is still ours. Dropping
// waits for readers of the table, and readers that come later wait for it:
// each attempt waits half a second only, and another follows later. Where all
// fail the error is ErrUnavailable, and nothing has changed.
func (c *Claim) DropTable(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := "dropping the table of shard " + c.name
	attempt := func() error {
		err := c.base.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
			if err := moveIn(ctx, tx, c.name, c.locker, c.state, StateReadOnly); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '500ms'; DROP TABLE IF EXISTS "+quoteTable(c.name))
			return err
		})
		if err != nil && !errors.Is(err, ErrUnavailable) {
			return backoff.Permanent(err)
		}
		return err
	}
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(5*time.Second))
	if err := backoff.Retry(attempt, backoff.WithContext(backoff.WithMaxRetries(pause, dropTries), ctx)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	c.state = StateReadOnly
	return nil
}
