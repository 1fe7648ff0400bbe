// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// keeper renews the leases of all claims of a SharedBase, in one statement, by
// a goroutine that lives as long as there are claims.
type keeper struct {
	mu     sync.Mutex
	claims map[uuid.UUID]*Claim
	stop   context.CancelFunc // of the goroutine; nil where there is none
	ended  sync.WaitGroup
	closed bool
}

// keep begins to renew a claim's lease, which was made after the moment asked.
func (b *SharedBase) keep(c *Claim, asked time.Time) {
	k := &b.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		c.end(ErrLeaseLost)
		return
	}
	c.timer = time.AfterFunc(b.patience(asked), c.lose)
	if k.claims == nil {
		k.claims = map[uuid.UUID]*Claim{}
	}
	k.claims[c.locker] = c
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

// forget ends the renewals of a claim.
func (k *keeper) forget(c *Claim) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.claims[c.locker] != c {
		return
	}
	c.timer.Stop()
	delete(k.claims, c.locker)
	if len(k.claims) == 0 && k.stop != nil {
		k.stop()
		k.stop = nil
	}
}

func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	for _, c := range k.claims {
		c.timer.Stop()
	}
	if k.stop != nil {
		k.stop()
	}
	k.mu.Unlock()
	k.ended.Wait()
}

// renewals renews every quarter of a lease, until ctx ends. A try may take
// until the next: there are two more before anybody has to give up.
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

// renew renews all leases that have not run out, and tells the holders of the
// others. Where the database does not answer, the claims' timers tell them.
func (b *SharedBase) renew(ctx context.Context) {
	asked := time.Now()
	claims := b.keeper.list()
	lockers := make([]uuid.UUID, len(claims))
	for i, c := range claims {
		lockers[i] = c.locker
	}
	rows, err := b.pool.Query(ctx, `UPDATE winery_lease l SET expires = clock_timestamp() + $2 FROM shards s
		WHERE s.id = l.shard AND s.locker = l.locker AND l.locker = ANY ($1) AND l.expires > clock_timestamp()
		RETURNING l.locker`, lockers, b.lease)
	if err != nil {
		return
	}
	renewed, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return
	}
	held := map[uuid.UUID]bool{}
	for _, locker := range renewed {
		held[locker] = true
	}
	for _, c := range claims {
		if held[c.locker] {
			b.keeper.extend(c, b.patience(asked))
		} else {
			c.lose()
		}
	}
	// For Python's list of stale shards. Who holds the row, an Add, comes first.
	_, _ = b.pool.Exec(ctx, `WITH free AS (SELECT id FROM shards WHERE locker = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED)
		UPDATE shards s SET locker_ts = now() FROM free WHERE s.id = free.id`, renewed)
}

func (k *keeper) list() (claims []*Claim) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.claims {
		claims = append(claims, c)
	}
	return claims
}

// extend sets a claim's timer anew, unless the claim is lost or used up.
func (k *keeper) extend(c *Claim, d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.claims[c.locker] == c && !k.closed {
		c.timer.Reset(d)
	}
}
