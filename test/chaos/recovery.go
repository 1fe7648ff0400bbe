// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"winery/sharedbase"
)

// recovery measures how long other processes take to continue after a fault of a
// process: from the fault until the shard that the process held is released from
// that claim, and from a writer's death until it acknowledges an add again.
type recovery struct {
	base *sharedbase.SharedBase

	mu     sync.Mutex
	held   map[uuid.UUID]hit        // claims of processes that were hit
	dead   map[int]time.Time        // writers that were killed, by number
	claims map[kind][]time.Duration // by what hit the holder
	adds   []time.Duration
}

type hit struct {
	at time.Time
	by kind
}

func newRecovery(base *sharedbase.SharedBase) *recovery {
	return &recovery{base: base, held: map[uuid.UUID]hit{}, dead: map[int]time.Time{}, claims: map[kind][]time.Duration{}}
}

// leases are those of a process.
func (r *recovery) leases(ctx context.Context, pid int) ([]sharedbase.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	all, err := r.base.Leases(ctx)
	var its []sharedbase.Lease
	for _, l := range all {
		if l.PID == pid {
			its = append(its, l)
		}
	}
	return its, err
}

// holds reports whether a process has a claim, as far as can be known.
func (r *recovery) holds(ctx context.Context, pid int) bool {
	its, err := r.leases(ctx, pid)
	return err == nil && len(its) > 0
}

// struck notes that a process was hit, and with it the claims that it has now.
func (r *recovery) struck(ctx context.Context, pid int, by kind, at time.Time) {
	its, err := r.leases(ctx, pid)
	if err != nil {
		return // the database is unavailable: the shard of the process is unknown
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range its {
		r.held[l.Locker] = hit{at, by}
	}
}

// watch looks for claims that have ended, until ctx does.
func (r *recovery) watch(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		idle := len(r.held) == 0
		r.mu.Unlock()
		if idle {
			continue
		}
		if shards, err := r.base.ListShards(ctx, sharedbase.ShardFilter{}); err == nil {
			r.saw(shards, time.Now())
		}
	}
}

func (r *recovery) saw(shards []sharedbase.Shard, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	locked := map[uuid.UUID]bool{}
	for _, s := range shards {
		locked[s.Locker] = true
	}
	for locker, h := range r.held {
		if !locked[locker] {
			r.claims[h.by] = append(r.claims[h.by], now.Sub(h.at))
			delete(r.held, locker)
		}
	}
}

// died notes that the n-th writer was killed.
func (r *recovery) died(n int, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, before := r.dead[n]; !before {
		r.dead[n] = at
	}
}

// acked notes an acknowledged add, which was sent at sent.
func (r *recovery) acked(n int, sent time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, dead := r.dead[n]; dead && sent.After(at) {
		r.adds = append(r.adds, time.Since(at))
		delete(r.dead, n)
	}
}

// spread tells the median and the greatest.
func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "never measured"
	}
	sorted := slices.Sorted(slices.Values(times))
	return fmt.Sprintf("median %.1f s, at most %.1f s, %d times", sorted[len(sorted)/2].Seconds(), sorted[len(sorted)-1].Seconds(), len(sorted))
}
