// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ClaimFilter narrows down which shard is locked; an empty field does not.
type ClaimFilter struct {
	Pools              []string // of any of them
	MinMappedHosts     int
	Name               string
	IncludeQuarantined bool // a quarantined shard, too: to repair it
}

// LockOneShard moves one shard in state from to the locked state to, and returns
// the claim to it, or nil if no such shard is free. Any number of processes may
// call it at once: none waits for another, and no two get the same shard. Locked
// for writing, a shard has its table (Python creates a shard before its table).
func (b *SharedBase) LockOneShard(ctx context.Context, from, to ShardState, f ClaimFilter) (*Claim, error) {
	if !from.canBecome(to) || !to.Locked() {
		return nil, fmt.Errorf("a shard in state %s cannot be locked as %s", from, to)
	}
	c := &Claim{heldLease: b.newLease(), state: to, repair: f.IncludeQuarantined, mappedHosts: f.MinMappedHosts}
	asked := time.Now()
	err := b.inTx(ctx, fmt.Sprintf("locking a shard in state %s as %s", from, to), func(ctx context.Context, tx pgx.Tx) error {
		// NO KEY UPDATE: an insert of an object of the shard holds a key share
		// of its row until it commits, and would hide the shard from FOR UPDATE.
		// A subquery in place of WITH might run more than once, and lock more.
		// A total counts only for the version of the shard's row that it was recorded with.
		var objects, bytes *int64
		err := tx.QueryRow(ctx, `/* winery: LockOneShard */
			WITH free AS (SELECT id, xmin AS version FROM shards
				WHERE state = @from AND (cardinality(@pools::text[]) = 0 OR pool_name = ANY (@pools)) AND @name IN ('', name::text)
					AND cardinality(mapped_on_hosts_when_packed) >= @hosts
					AND (@quarantined OR NOT EXISTS (SELECT FROM winery_quarantine WHERE shard = id))
				ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED),
			locked AS (UPDATE shards s SET state = @to, locker = @locker, locker_ts = now()
				FROM free WHERE s.id = free.id
				RETURNING s.id, s.name::text, s.pool_name,
					(SELECT objects FROM winery_total WHERE shard = s.id AND row_version = free.version),
					(SELECT bytes FROM winery_total WHERE shard = s.id AND row_version = free.version), `+notify+`),
			`+insertLease+" SELECT * FROM locked",
			b.leaseArgs(c.locker, pgx.NamedArgs{
				"from": from, "to": to, "pools": append([]string{}, f.Pools...), "name": f.Name, "hosts": f.MinMappedHosts, "quarantined": f.IncludeQuarantined,
			})).Scan(&c.id, &c.name, &c.pool, &objects, &bytes, nil)
		if err != nil {
			return err
		}
		// Quarantined since that statement's snapshot, and before the row was locked.
		if err := quarantined(ctx, tx, c.id, c.name); err != nil && !c.repair {
			return err
		}
		if to != StateWriting {
			return nil
		}
		if c.totalKnown = objects != nil; c.totalKnown {
			c.total = Total{*objects, *bytes}
		}
		return createTable(ctx, tx, c.name, StateWriting, c.locker)
	})
	if errors.Is(err, ErrNotFound) || errors.As(err, new(*QuarantinedError)) {
		return nil, nil
	}
	return c.keepOrRelease(ctx, asked, err)
}

// WithOneShard does work on one shard that it locks as LockOneShard does, and
// returns false where there is none. Work changes the shard's state by its claim.
// If work fails or panics, or has not changed the state, the shard goes back to
// the state from. The context of work ends when the lease is lost, and the error
// then says so.
func (b *SharedBase) WithOneShard(ctx context.Context, from, to ShardState, f ClaimFilter,
	work func(ctx context.Context, c *Claim) error) (worked bool, err error) {
	c, err := b.LockOneShard(ctx, from, to, f)
	if c == nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.Release(ctx)) }()
	return true, c.during(ctx, func(ctx context.Context) error { return work(ctx, c) })
}

// LockWritingShard locks the oldest standby shard of the pools for writing, or
// creates one in the first.
func (b *SharedBase) LockWritingShard(ctx context.Context, pool string, others ...string) (*Claim, error) {
	c, err := b.LockOneShard(ctx, StateStandby, StateWriting, ClaimFilter{Pools: append([]string{pool}, others...)})
	if c != nil || err != nil {
		return c, err
	}
	return b.CreateShard(ctx, pool)
}

// CreateShard makes a shard and its table, locked for writing.
func (b *SharedBase) CreateShard(ctx context.Context, pool string) (*Claim, error) {
	if pool == "" {
		return nil, errors.New("a new shard needs a pool")
	}
	c := &Claim{heldLease: b.newLease(), state: StateWriting, name: newName(), pool: pool, totalKnown: true}
	asked := time.Now()
	err := b.inTx(ctx, "creating shard "+c.name, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `/* winery: CreateShard */
			WITH locked AS (INSERT INTO shards AS s (name, state, pool_name, locker, locker_ts)
				VALUES (@name, 'writing', @pool, @locker, now()) RETURNING id, `+notify+`),
			`+insertLease+" SELECT * FROM locked",
			b.leaseArgs(c.locker, pgx.NamedArgs{"name": c.name, "pool": pool})).Scan(&c.id, nil)
		if err != nil {
			return err
		}
		return createTable(ctx, tx, c.name, StateWriting, c.locker)
	})
	return c.keepOrRelease(ctx, asked, err)
}

// keepOrRelease returns the claim, whose lease is renewed from now on, or the error of
// its transaction: if the answer to the commit is missing, the shard may be locked, and
// is released again.
func (c *Claim) keepOrRelease(ctx context.Context, asked time.Time, err error) (*Claim, error) {
	if err == nil {
		c.base.keep(c.heldLease, asked)
		return c, nil
	}
	if c.id != 0 {
		_ = c.Release(ctx) // which fails, as a rule: there is nothing to release
	}
	return nil, err
}

// newName returns 32 characters: hexadecimal digits of a random uuid, the first
// replaced so that the name does not begin with a digit.
func newName() string {
	id := uuid.New()
	return "i" + hex.EncodeToString(id[:])[1:]
}

// ReleaseShard returns a shard to the state from which it was claimed, whatever
// process holds it: operators use it after a process has died. s is the shard as
// it was listed; if it has changed since, the error is *StateError. If the old
// holder is alive, it can do nothing with its claim any more.
func (b *SharedBase) ReleaseShard(ctx context.Context, s Shard) error {
	to, ok := s.State.Origin()
	if !ok {
		return fmt.Errorf("shard %s cannot be released: its state is %s", s.Name, s.State)
	}
	return b.move(ctx, s.Name, s.Locker, s.State, to, nil)
}

// move executes every transition out of a locked state: state and locker must be
// as the caller expects, else *StateError. total is the size of the table of a
// shard that was written, where it is known.
func (b *SharedBase) move(ctx context.Context, name string, locker uuid.UUID, from, to ShardState, total *Total) error {
	what := fmt.Sprintf("moving shard %s from %s to %s", name, from, to)
	return b.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		return moveIn(ctx, tx, name, locker, from, to, total)
	})
}

func moveIn(ctx context.Context, tx pgx.Tx, name string, locker uuid.UUID, from, to ShardState, total *Total) error {
	if !from.Locked() || !from.canBecome(to) {
		return fmt.Errorf("shard %s cannot move from %s to %s", name, from, to)
	}
	var objects, bytes *int64
	if total != nil {
		objects, bytes = &total.Objects, &total.Bytes
	}
	s, err := lockShard(ctx, tx, name)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	// The id of this transaction becomes the xmin of the shard's row, for which the total counts.
	done, err := tx.Exec(ctx, `/* winery: SetState */
		WITH moved AS (UPDATE shards s SET state = $4, locker = NULL, locker_ts = NULL
			WHERE name = $1 AND locker IS NOT DISTINCT FROM $2 AND state = $3
				AND ($7 OR NOT EXISTS (SELECT FROM winery_quarantine WHERE shard = s.id)) RETURNING s.id, `+notify+`),
		ended AS (DELETE FROM winery_lease l USING moved WHERE l.shard = moved.id),
		noted AS (INSERT INTO winery_total (shard, objects, bytes, row_version)
			SELECT id, $5, $6, pg_current_xact_id()::xid FROM moved WHERE $4 = 'standby' AND $5::bigint IS NOT NULL
			ON CONFLICT (shard) DO UPDATE SET objects = excluded.objects, bytes = excluded.bytes, row_version = excluded.row_version),
		forgotten AS (DELETE FROM winery_total t USING moved WHERE t.shard = moved.id AND $4 = 'full')
		SELECT FROM moved`, name, orNull(locker), from, to, objects, bytes, !needsConsistentShard(from, to))
	if err != nil || done.RowsAffected() == 1 {
		return err
	}
	if s.Locker == locker && s.State == from {
		return quarantined(ctx, tx, s.ID, name)
	}
	return notHeld(ctx, tx, name, locker, from)
}

// needsConsistentShard reports whether a transition relies on a consistent shard: its image is
// used from then on, or its table is dropped. The other transitions, which
// release a shard or mark it full, lose nothing.
func needsConsistentShard(from, to ShardState) bool {
	return to == StateReadOnly || from == StatePacking && to == StatePacked
}

// lockShard locks a shard's row until the end of the transaction: no other process
// claims the shard, moves it or quarantines it meanwhile. The statements that follow
// have snapshots of their own, so they see what was committed before the lock. A
// condition on another table in the WHERE of the locking statement itself would
// not: it keeps the snapshot from before it waited.
func lockShard(ctx context.Context, tx pgx.Tx, name string) (Shard, error) {
	return scanShard(tx.QueryRow(ctx, `/* winery: LockShard */
		SELECT `+shardColumns+" FROM shards s WHERE name = $1 FOR NO KEY UPDATE", name))
}

// querier is the pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// notHeld returns the error that says how the shard's row differs from the
// expected one.
func notHeld(ctx context.Context, db querier, name string, locker uuid.UUID, expected ShardState) error {
	wrong := &StateError{Shard: name, Locker: locker, Expected: expected}
	s, err := scanShard(db.QueryRow(ctx, "/* winery: FindHolder */ SELECT "+shardColumns+" FROM shards s WHERE name = $1", name))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	wrong.Found, wrong.FoundLocker = s.State, s.Locker
	return wrong
}

func orNull(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
