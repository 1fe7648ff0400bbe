// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"errors"
	"testing"

	"winery/sharedbase"
)

// Nobody claims a quarantined shard, or erases in it, until it is unquarantined.
func TestQuarantined(t *testing.T) {
	b, _ := newBase(t)
	ctx := t.Context()
	s := shardIn(t, b, sharedbase.StatePacked, object("content"))
	for _, reason := range []string{"first", "the image is damaged"} {
		if err := b.Quarantine(ctx, s.ID, reason); err != nil {
			t.Fatal(err)
		}
	}
	quarantined := must(b.QuarantinedShards(ctx))(t)
	if len(quarantined) != 1 || quarantined[0].Shard.Name != s.Name || quarantined[0].Reason != "the image is damaged" || quarantined[0].Role != "winery test" || quarantined[0].At.IsZero() {
		t.Errorf("quarantined: %+v", quarantined)
	}
	lock := func(f sharedbase.ClaimFilter) *sharedbase.Claim {
		return must(b.LockOneShard(ctx, sharedbase.StatePacked, sharedbase.StateCleaning, f))(t)
	}
	if c := lock(sharedbase.ClaimFilter{}); c != nil {
		t.Error("a quarantined shard was claimed")
	}
	if err := b.Delete(ctx, object("content").ID); err != nil {
		t.Fatal(err)
	}
	if toErase(t, b, s.ID) {
		t.Error("objects are to be erased in a quarantined shard")
	}
	c := lock(sharedbase.ClaimFilter{IncludeQuarantined: true})
	if c == nil {
		t.Fatal("a quarantined shard cannot be claimed for repair")
	}
	if err := c.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Unquarantine(ctx, s.Name); err != nil {
		t.Fatal(err)
	}
	if err := b.Unquarantine(ctx, s.Name); !errors.Is(err, sharedbase.ErrNotFound) {
		t.Errorf("unquarantined again: %v", err)
	}
	if !toErase(t, b, s.ID) {
		t.Error("nothing is to be erased in an unquarantined shard")
	}
	if lock(sharedbase.ClaimFilter{}) == nil {
		t.Error("an unquarantined shard cannot be claimed")
	}
}
