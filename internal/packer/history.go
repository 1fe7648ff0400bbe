// SPDX-License-Identifier: GPL-3.0-or-later

package packer

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"winery/sharedbase"
)

// History is what the packers of a process remember: one does not try what another has
// just failed at. It is safe for concurrent use.
type History struct {
	now func() time.Time

	mu           sync.Mutex
	tried        map[string]tries // by shard
	unconfigured []string         // the pools of the last warning of warnUnconfigured
}

// NewHistory makes an empty one.
func NewHistory() *History { return &History{now: time.Now, tried: map[string]tries{}} }

// due returns the shards that may be tried now, those that failed least first; and of
// the others the one that is tried next, nil if there are none.
func (h *History) due(full []sharedbase.Shard) (due []sharedbase.Shard, postponed *PostponedError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range full {
		t := h.tried[s.Name]
		switch {
		case !h.now().Before(t.next):
			due = append(due, s)
		case postponed == nil || t.next.Before(postponed.Next):
			postponed = &PostponedError{s.Name, s.Pool, t.failed, t.next, t.last}
		}
	}
	slices.SortStableFunc(due, func(a, b sharedbase.Shard) int {
		return cmp.Compare(h.tried[a.Name].failed, h.tried[b.Name].failed)
	})
	return due, postponed
}

// fails notes that a shard could not be packed, which began at start, with its error,
// and returns the pause before the next try.
func (h *History) fails(shard string, start time.Time, err error) (pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tried[shard]
	pause = t.fail(h.now(), h.now().Sub(start), err)
	h.tried[shard] = t
	return pause
}

// longest returns how long the failed try took that took the longest, at least cheap.
func (h *History) longest() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	longest := cheap
	for _, t := range h.tried {
		longest = max(longest, t.longest)
	}
	return longest
}

// forget forgets the tries of a shard that is packed, or quarantined.
func (h *History) forget(shard string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tried, shard)
}

// damages notes that the image of a shard turned out damaged, and returns how often it
// has by now.
func (h *History) damages(shard string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tried[shard]
	t.damaged++
	h.tried[shard] = t
	return t.damaged
}

// warnOf says whether to warn of these pools: there are some, and others than before.
func (h *History) warnOf(pools []string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := !slices.Equal(pools, h.unconfigured)
	h.unconfigured = pools
	return changed && len(pools) > 0
}
