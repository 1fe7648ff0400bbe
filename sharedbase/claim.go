// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// releasing is how long a release is retried, even after its context has
	// ended. A shard that is not released by then stays locked until its lease
	// expires.
	releasing = 10 * time.Second
	// dropping is how long it is tried to drop a table that readers keep busy.
	dropping = 2 * time.Minute
)

// Claim is the right of its holder to a shard in a locked state. The database
// records a locker that belongs to this claim alone, so a claim that was lost
// cannot be used any more, not even by the same process. Its methods may be
// called from any number of goroutines.
type Claim struct {
	*heldLease
	id     int64
	name   string
	pool   string
	repair bool // the shard may be quarantined

	mappedHosts int // that the shard had at least when it was claimed

	total      Total // of the table when it was claimed for writing
	totalKnown bool

	state ShardState // guarded by the lease's mu
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

// becomes notes that this claim has changed the shard's state. The caller holds
// mu.
func (c *Claim) becomes(state ShardState) {
	c.state = state
	c.base.keeper.forget(c.heldLease)
}

// Verify checks in the database that the claim holds at this moment: *StateError
// if it does not, ErrLeaseLost if the lease expired but no other process has the
// shard, *QuarantinedError unless the shard was claimed for repair. The next
// operation is safe only if a successor would undo or refuse it.
func (c *Claim) Verify(ctx context.Context) error {
	state := c.State()
	return c.base.withShortTimeout(ctx, "verifying the claim to shard "+c.name, func(ctx context.Context) error {
		var held, alive bool
		err := c.base.conns.rest.QueryRow(ctx, `/* winery: VerifyClaim */
			SELECT EXISTS (SELECT FROM shards WHERE id = $1 AND locker = $2 AND state = $3),
			EXISTS (SELECT FROM winery_lease WHERE shard = $1 AND locker = $2 AND expires > clock_timestamp())`,
			c.id, c.locker, state).Scan(&held, &alive)
		switch {
		case err != nil:
			return err
		case !held:
			return notHeld(ctx, c.base.conns.rest, c.name, c.locker, state)
		case !alive:
			return fmt.Errorf("shard %s: %w", c.name, ErrLeaseLost)
		case c.repair:
			return nil
		}
		return quarantined(ctx, c.base.conns.rest, c.id, c.name)
	})
}

// SetState changes the shard's state, which uses up the claim. A transition that
// does not exist is refused; *StateError means that the claim is lost. After
// ErrUnavailable the state may have changed or not: a retry returns nil, or
// *StateError with Found == to.
func (c *Claim) SetState(ctx context.Context, to ShardState) error {
	return c.advance(ctx, to, func(context.Context, pgx.Tx) error { return nil })
}

// advance moves the shard on, and calls also in the same transaction.
func (c *Claim) advance(ctx context.Context, to ShardState, also func(context.Context, pgx.Tx) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := fmt.Sprintf("moving shard %s from %s to %s", c.name, c.state, to)
	err := c.base.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		if err := moveIn(ctx, tx, c.name, c.locker, c.state, to, nil); err != nil {
			return err
		}
		return also(ctx, tx)
	})
	if err == nil {
		c.becomes(to)
	}
	return err
}

// Release returns the shard to the state from which it was claimed. It does
// nothing if the claim is used up. It continues after ctx has ended, and retries
// while the database is unavailable; it returns after ten seconds at most. *StateError
// means that the claim was lost, and the shard was not released. After any other error
// Release may be called again; the lease is not renewed any more, so when it has expired
// any process reclaims the shard.
func (c *Claim) Release(ctx context.Context) error {
	return c.release(ctx, nil)
}

func (c *Claim) release(ctx context.Context, total *Total) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.state.Locked() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasing)
	defer cancel()
	origin := origins[c.state]
	err := persist(ctx, releasing, func() error {
		err := c.base.move(ctx, c.name, c.locker, c.state, origin, total)
		var wrong *StateError
		if errors.As(err, &wrong) && wrong.Found == origin {
			return nil // by an earlier attempt, whose answer was lost
		}
		return err
	})
	c.base.keeper.forget(c.heldLease) // whatever the error: the holder works no more
	if err == nil {
		c.state = origin
	}
	return err
}

// DropTable moves the shard from cleaning to readonly and drops its table, in one
// transaction: the table is dropped only if the claim holds, the shard is not
// quarantined (*QuarantinedError), and still as many hosts have mapped the image as
// the claim asked for (ClaimFilter.MinMappedHosts), and as the database's owner has
// set (ErrTooFewHosts). The drop waits for readers of the table, and
// blocks later readers meanwhile: so each attempt waits only half a second, and
// retries follow for two minutes. If all fail, the error is ErrUnavailable, and
// nothing has changed. An attempt whose answer was lost may have succeeded; the
// next one then reports success.
func (c *Claim) DropTable(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	answered := true
	return persist(ctx, dropping, func() error {
		err := c.base.inTx(ctx, "dropping the table of shard "+c.name, c.dropTable)
		var wrong *StateError
		if err == nil || !answered && errors.As(err, &wrong) && wrong.Found == StateReadOnly {
			c.becomes(StateReadOnly)
			return nil
		}
		answered = answered && !errors.Is(err, ErrUnavailable)
		return err
	})
}

func tooFewHosts(name string, mapped int) error {
	return fmt.Errorf("shard %s: %w: %d; --min-mapped-hosts, or the owner of the database, asks for more", name, ErrTooFewHosts, mapped)
}

// dropTable has the proof and the drop in one call of the server's function.
func (c *Claim) dropTable(ctx context.Context, tx pgx.Tx) error {
	var done bool
	err := tx.QueryRow(ctx, "/* winery: DropTable */ SELECT winery_drop_table($1, $2, $3)", c.name, c.locker, c.mappedHosts).Scan(&done)
	if err != nil || done {
		return err
	}
	s, err := lockShard(ctx, tx, c.name)
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return err
	case s.Locker != c.locker || s.State != StateCleaning:
		return notHeld(ctx, tx, c.name, c.locker, StateCleaning)
	}
	if err := quarantined(ctx, tx, s.ID, c.name); err != nil {
		return err
	}
	return tooFewHosts(c.name, len(s.MappedOn))
}
