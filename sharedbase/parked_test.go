// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"testing"

	"winery/sharedbase"
)

// Nobody claims a parked shard, or erases in it, until it is unparked.
func TestParked(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StatePacked, object("content"))
	for _, reason := range []string{"first", "the image is damaged"} {
		if err := b.Park(ctx, s.ID, reason); err != nil {
			t.Fatal(err)
		}
	}
	parked := must(b.ParkedShards(ctx))(t)
	if len(parked) != 1 || parked[0].Shard.Name != s.Name || parked[0].Reason != "the image is damaged" || parked[0].Role != "winery test" || parked[0].At.IsZero() {
		t.Errorf("parked: %+v", parked)
	}
	lock := func(f sharedbase.ClaimFilter) *sharedbase.Claim {
		return must(b.LockOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning, f))(t)
	}
	if c := lock(sharedbase.ClaimFilter{}); c != nil {
		t.Error("a parked shard was claimed")
	}
	if err := b.Delete(ctx, object("content").ID); err != nil {
		t.Fatal(err)
	}
	if d, ok := deletedIn(t, b, s.ID); ok {
		t.Errorf("to be erased in a parked shard: %+v", d)
	}
	c := lock(sharedbase.ClaimFilter{Parked: true})
	if c == nil {
		t.Fatal("a parked shard cannot be claimed for repair")
	}
	if err := c.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Unpark(ctx, s.Name); err != nil {
		t.Fatal(err)
	}
	if err := b.Unpark(ctx, s.Name); !errors.Is(err, sharedbase.ErrNotFound) {
		t.Errorf("unparked again: %v", err)
	}
	if _, ok := deletedIn(t, b, s.ID); !ok {
		t.Error("nothing is to be erased in an unparked shard")
	}
	if lock(sharedbase.ClaimFilter{}) == nil {
		t.Error("an unparked shard cannot be claimed")
	}
}
