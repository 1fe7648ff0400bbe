// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// heldLease is the lease of a claim of this process, which its keeper renews.
type heldLease struct {
	base   *SharedBase
	locker uuid.UUID // the claim's own

	lost context.Context // ends when the lease is lost
	end  context.CancelCauseFunc

	mu    sync.Mutex  // held while a transition uses the claim up
	timer *time.Timer // fires when the holder must stop; owned by the keeper
}

func (b *SharedBase) newLease() *heldLease {
	l := &heldLease{base: b, locker: uuid.New()}
	l.lost, l.end = context.WithCancelCause(context.Background())
	return l
}

// Lost says whether the lease was not renewed in time, or another process took
// the shard: the claim must not be used any more, only released.
func (l *heldLease) Lost() bool { return l.lost.Err() != nil }

// Context returns a context for work under the claim: it ends, with ErrLeaseLost
// for its cause, as soon as the lease is lost.
func (l *heldLease) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.lost, func() { cancel(context.Cause(l.lost)) })
	return ctx, func() { stop(); cancel(nil) }
}

// during calls work with such a context. That the lease was lost is in the error
// of work.
func (l *heldLease) during(ctx context.Context, work func(ctx context.Context) error) error {
	working, stop := l.Context(ctx)
	defer stop()
	err := work(working)
	if lost := context.Cause(working); err != nil && errors.Is(lost, ErrLeaseLost) {
		err = fmt.Errorf("%w: %w", lost, err)
	}
	return err
}

// lose tells the holder that the lease is lost. A transition that is in flight
// is not disturbed: the database decides on it.
func (l *heldLease) lose() {
	if !l.mu.TryLock() {
		l.base.keeper.extend(l, time.Second)
		return
	}
	defer l.mu.Unlock()
	if l.base.keeper.forget(l) {
		l.end(ErrLeaseLost)
	}
}

// keeper renews the leases of all claims of a SharedBase, in one statement, by
// a goroutine that lives as long as there are claims.
type keeper struct {
	mu     sync.Mutex
	held   map[uuid.UUID]*heldLease
	stop   context.CancelFunc // of the goroutine; nil where there is none
	ended  sync.WaitGroup
	closed bool
}

// keep begins to renew a lease, which was made after the moment asked.
func (b *SharedBase) keep(l *heldLease, asked time.Time) {
	k := &b.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		l.end(ErrLeaseLost)
		return
	}
	l.timer = time.AfterFunc(b.patience(asked), l.lose)
	if k.held == nil {
		k.held = map[uuid.UUID]*heldLease{}
	}
	k.held[l.locker] = l
	if k.stop == nil {
		var ctx context.Context
		ctx, k.stop = context.WithCancel(context.Background())
		k.ended.Go(func() { b.renewals(ctx) })
	}
}

// patience is how long from now a holder may rely on a lease that was made or
// renewed after the moment asked: until a sixth of it is left.
func (b *SharedBase) patience(asked time.Time) time.Duration {
	return time.Until(asked.Add(b.lease / 6 * 5))
}

// forget ends the renewals of a lease; false where they have ended.
func (k *keeper) forget(l *heldLease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[l.locker] != l {
		return false
	}
	l.timer.Stop()
	delete(k.held, l.locker)
	if len(k.held) == 0 && k.stop != nil {
		k.stop()
		k.stop = nil
	}
	return true
}

func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	for _, l := range k.held {
		l.timer.Stop()
	}
	if k.stop != nil {
		k.stop()
	}
	k.mu.Unlock()
	k.ended.Wait()
}

// renewals renews every quarter of a lease, until ctx ends. An attempt may last
// until the next one: two more follow before the holder must stop.
func (b *SharedBase) renewals(ctx context.Context) {
	tick := time.NewTicker(b.lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, b.lease/4)
		b.renew(limited)
		cancel()
	}
}

// renew renews all leases that have not expired, and notifies the holders of those that
// have. If the database does not answer, or another transaction has locked a lease, the
// claims' timers notify them.
func (b *SharedBase) renew(ctx context.Context) {
	asked := time.Now()
	leases := b.keeper.list()
	lockers := make([]uuid.UUID, len(leases))
	for i, l := range leases {
		lockers[i] = l.locker
	}
	// The commits do not wait for a standby: otherwise an outage of the standby would abort all long work. If a
	// failover undoes a renewal, the lease ends early: the shard is reclaimed, and its holder is refused like any
	// holder whose lease expired, by its locker and by the fences. A lease alone never permits an operation.
	// Nor do they wait for a row that another transaction has locked: a transition that waits for the standby keeps
	// the lock of its lease, and would delay those of all other claims.
	rows, err := b.conns.keeper.Query(ctx, `/* winery: RenewLeases */
		WITH local AS MATERIALIZED (SELECT set_config('synchronous_commit', 'local', true)),
		free_shard AS (SELECT l.shard FROM winery_lease l JOIN shards s ON s.id = l.shard AND s.locker = l.locker
			WHERE l.locker = ANY ($1) AND l.expires > clock_timestamp() FOR NO KEY UPDATE OF l SKIP LOCKED),
		free_image AS (SELECT shard FROM winery_image_lease
			WHERE locker = ANY ($1) AND expires > clock_timestamp() FOR NO KEY UPDATE SKIP LOCKED),
		renewed_shard AS (UPDATE winery_lease l SET expires = clock_timestamp() + $2 FROM free_shard f, local
			WHERE l.shard = f.shard RETURNING l.locker),
		renewed_image AS (UPDATE winery_image_lease l SET expires = clock_timestamp() + $2 FROM free_image f, local
			WHERE l.shard = f.shard RETURNING l.locker)
		SELECT locker, true FROM renewed_shard UNION ALL SELECT locker, true FROM renewed_image
		UNION ALL SELECT l.locker, false FROM winery_lease l JOIN shards s ON s.id = l.shard AND s.locker = l.locker
			WHERE l.locker = ANY ($1) AND l.expires > clock_timestamp()
		UNION ALL SELECT locker, false FROM winery_image_lease WHERE locker = ANY ($1) AND expires > clock_timestamp()`, lockers, b.lease)
	if err != nil {
		return
	}
	renewed := map[uuid.UUID]bool{} // false for a lease that exists, and was not renewed
	var locker uuid.UUID
	var done bool
	_, err = pgx.ForEachRow(rows, []any{&locker, &done}, func() error {
		renewed[locker] = renewed[locker] || done
		return nil
	})
	if err != nil {
		return
	}
	lockers = lockers[:0]
	for _, l := range leases {
		switch done, exists := renewed[l.locker]; {
		case done:
			b.keeper.extend(l, b.patience(asked))
			lockers = append(lockers, l.locker)
		case !exists:
			l.lose()
		}
	}
	// For Python's list of stale shards. Rows that are locked, by an Add, are
	// skipped.
	_, _ = b.conns.keeper.Exec(ctx, `/* winery: RenewLockTimes */
		WITH local AS MATERIALIZED (SELECT set_config('synchronous_commit', 'local', true)),
		free AS (SELECT id FROM shards WHERE locker = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED)
		UPDATE shards s SET locker_ts = now() FROM free, local WHERE s.id = free.id`, lockers)
}

func (k *keeper) list() (leases []*heldLease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.held {
		leases = append(leases, l)
	}
	return leases
}

// extend restarts a lease's timer, unless the lease is lost or used up.
func (k *keeper) extend(l *heldLease, d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[l.locker] == l && !k.closed {
		l.timer.Reset(d)
	}
}
