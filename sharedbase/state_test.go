// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"winery/sharedbase"
	"winery/test/pgtest"
)

const (
	standby   = sharedbase.StateStandby
	writing   = sharedbase.StateWriting
	full      = sharedbase.StateFull
	packing   = sharedbase.StatePacking
	packed    = sharedbase.StatePacked
	cleaning  = sharedbase.StateCleaning
	readonly  = sharedbase.StateReadOnly
	importing = sharedbase.StateImporting
)

func TestStateProperties(t *testing.T) {
	for _, c := range []struct {
		state         sharedbase.ShardState
		locked, image bool
	}{
		{standby, false, false},
		{writing, true, false},
		{full, false, false},
		{packing, true, false},
		{packed, false, true},
		{cleaning, true, true},
		{readonly, false, true},
		{importing, true, false},
	} {
		if c.state.Locked() != c.locked || c.state.ImageAvailable() != c.image {
			t.Errorf("%s: locked %v, image available %v", c.state, c.state.Locked(), c.state.ImageAvailable())
		}
	}
}

// life checks that a shard makes only the documented transitions, and only for
// its holder, whatever calls are made.
type life struct {
	b      *sharedbase.SharedBase
	name   string
	state  sharedbase.ShardState
	holder *sharedbase.Claim
	claims []*sharedbase.Claim // old ones, too
	seen   []sharedbase.Shard  // what an operator saw, now or earlier
}

var (
	locks = map[sharedbase.ShardState]sharedbase.ShardState{standby: writing, full: packing, packed: cleaning}
	ends  = map[sharedbase.ShardState][]sharedbase.ShardState{
		writing: {standby, full}, packing: {full, packed}, cleaning: {packed, readonly}}
	backTo = map[sharedbase.ShardState]sharedbase.ShardState{writing: standby, packing: full, cleaning: packed}
	every  = rapid.SampledFrom([]sharedbase.ShardState{standby, writing, full, packing, packed, cleaning, readonly, importing, ""})
)

func (l *life) lock(t *rapid.T) {
	from, to := every.Draw(t, "from"), every.Draw(t, "to")
	if rapid.Bool().Draw(t, "sensible") && locks[l.state] != "" {
		from, to = l.state, locks[l.state]
	}
	c, err := l.b.LockOneShard(t.Context(), from, to, sharedbase.ClaimFilter{Name: l.name})
	legal := from != "" && locks[from] == to && to != ""
	if legal != (err == nil) || (c != nil) != (legal && from == l.state) {
		t.Fatalf("locking from %s to %s while it is %s: %v, %v", from, to, l.state, c, err)
	}
	if c != nil {
		l.state, l.holder, l.claims = to, c, append(l.claims, c)
	}
}

func (l *life) setState(t *rapid.T) {
	c, to := rapid.SampledFrom(l.claims).Draw(t, "claim"), every.Draw(t, "to")
	if c.State() == cleaning && to == readonly {
		l.judge(t, c, to, c.DropTable(t.Context()))
		return
	}
	l.judge(t, c, to, c.SetState(t.Context(), to))
}

func (l *life) release(t *rapid.T) {
	c := rapid.SampledFrom(l.claims).Draw(t, "claim")
	if !c.State().Locked() {
		if err := c.Release(t.Context()); err != nil {
			t.Fatalf("releasing a claim that is used up: %v", err)
		}
		return
	}
	to := backTo[c.State()]
	if c != l.holder && l.state == to {
		// Taken for its own earlier success, which changes nothing.
		if err := c.Release(t.Context()); err != nil {
			t.Fatalf("releasing what is %s already: %v", to, err)
		}
		return
	}
	l.judge(t, c, to, c.Release(t.Context()))
}

// judge compares the outcome of a transition that a claim made or tried.
func (l *life) judge(t *rapid.T, c *sharedbase.Claim, to sharedbase.ShardState, err error) {
	var wrong *sharedbase.StateError
	switch {
	case err == nil && c == l.holder && slices.Contains(ends[l.state], to):
		l.state, l.holder = to, nil
	case err == nil:
		t.Fatalf("moved from %s to %s, by the holder: %v", l.state, to, c == l.holder)
	case errors.As(err, &wrong):
		if c == l.holder || wrong.Found != l.state || wrong.Expected != c.State() {
			t.Fatalf("while it is %s: %v", l.state, err)
		}
	case slices.Contains(ends[c.State()], to):
		t.Fatalf("from %s to %s: %v", c.State(), to, err)
	}
}

func (l *life) operatorReleases(t *rapid.T) {
	s := rapid.SampledFrom(l.seen).Draw(t, "seen")
	err := l.b.ReleaseShard(t.Context(), s)
	now := l.now(t)
	if err == nil {
		if l.holder == nil || s.State != l.state || now.State != backTo[s.State] {
			t.Fatalf("released %+v, which was %s", s, l.state)
		}
		l.state, l.holder = backTo[s.State], nil
	}
	l.seen = append(l.seen, now)
}

func (l *life) look(t *rapid.T) { l.seen = append(l.seen, l.now(t)) }

func (l *life) now(t *rapid.T) sharedbase.Shard {
	s, err := l.b.ShardByName(t.Context(), l.name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check runs after each action.
func (l *life) check(t *rapid.T) {
	now := l.now(t)
	held := now.Locker != [16]byte{}
	if now.State != l.state || held != (l.holder != nil) || held == now.LockedAt.IsZero() || held != now.State.Locked() {
		t.Fatalf("the shard is %+v, want it %s", now, l.state)
	}
}

func TestLives(t *testing.T) {
	b := open(t, pgtest.New(t), sharedbase.WithLease(time.Hour)) // no renewals: a claim passes over the rows that one locks
	must(b.Init(t.Context()))(t)
	rapid.Check(t, func(rt *rapid.T) {
		c, err := b.CreateShard(rt.Context(), "pool")
		if err != nil {
			rt.Fatal(err)
		}
		l := &life{b: b, name: c.Name(), state: writing, holder: c, claims: []*sharedbase.Claim{c}}
		l.look(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"": l.check, "lock": l.lock, "set state": l.setState, "release": l.release,
			"operator releases": l.operatorReleases, "look": l.look,
		})
	})
}
