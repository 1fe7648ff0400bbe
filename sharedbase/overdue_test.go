// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/expect"
)

// TestLockedShards: a holder has a lease that holds or has expired, or none, as Python's
// processes.
func TestLockedShards(t *testing.T) {
	b, conn := newBase(t)
	alive := must(b.CreateShard(t.Context(), "pool"))(t)
	dead := must(b.CreateShard(t.Context(), "pool"))(t)
	exec(t, conn, "UPDATE winery_lease SET expires = now() - interval '5 min', role = 'packer' WHERE shard = $1", dead.ID())
	exec(t, conn, "INSERT INTO shards (name, state, pool_name, locker, locker_ts) VALUES ('python', 'packing', 'pool', gen_random_uuid(), now() - interval '3 days')")
	shardIn(t, b, sharedbase.StateFull)
	locked := must(b.LockedShards(t.Context()))(t)
	if len(locked) != 3 {
		t.Fatalf("locked %+v", locked)
	}
	if s := locked[0]; s.Name != alive.Name() || s.Lease == nil || s.Expired() != 0 || s.For > time.Minute {
		t.Errorf("alive: %+v", s)
	}
	if s := locked[1]; s.Lease == nil || s.Lease.Role != "packer" || s.Expired() < 5*time.Minute || s.Expired() > 6*time.Minute {
		t.Errorf("dead: %+v", s)
	}
	if s := locked[2]; s.Name != "python" || s.Lease != nil || s.State != sharedbase.StatePacking || s.Expired() != 0 || s.For < 72*time.Hour {
		t.Errorf("Python's: %+v", s)
	}
}

// TestPackedFor counts neither young nor quarantined shards.
func TestPackedFor(t *testing.T) {
	b, conn := newBase(t)
	var shards []sharedbase.Shard
	for range 4 {
		shards = append(shards, shardIn(t, b, sharedbase.StatePacked))
	}
	must(b.RecordShardMapped(t.Context(), "host", shards[0].Pool, shards[0].Name))(t)
	expect.NoError(t, b.Quarantine(t.Context(), shards[2].ID, "damaged"))
	exec(t, conn, "UPDATE winery_state SET since = since - interval '2 hours' WHERE shard <> $1", shards[3].ID)
	o := must(b.PackedFor(t.Context(), time.Hour))(t)
	if o.Shards != 2 || o.Unmapped != 1 || o.Oldest < 2*time.Hour || o.Oldest > 3*time.Hour {
		t.Errorf("overdue %+v", o)
	}
	if o := must(b.PackedFor(t.Context(), 3*time.Hour))(t); o != (sharedbase.Overdue{}) {
		t.Errorf("after three hours: %+v", o)
	}
}

// TestUnerased counts what a cleaner could erase: objects that are marked deleted, and
// objects that were added again to another shard; not those of shards without an image,
// or in quarantine. Deletions without a record, as by Python, have no age.
func TestUnerased(t *testing.T) {
	b, conn := newBase(t)
	deleted := func(state sharedbase.ShardState, content string) sharedbase.Shard {
		s := shardIn(t, b, state, object(content))
		expect.NoError(t, b.Delete(t.Context(), object(content).ID))
		return s
	}
	again := func(state sharedbase.ShardState, content string) sharedbase.Shard {
		s := deleted(state, content)
		shardIn(t, b, sharedbase.StateStandby, object(content))
		return s
	}
	deleted(sharedbase.StateReadOnly, "marked")
	again(sharedbase.StatePacked, "noted")
	deleted(sharedbase.StateFull, "marked, not packed")
	again(sharedbase.StateStandby, "noted, not packed")
	expect.NoError(t, b.Quarantine(t.Context(), deleted(sharedbase.StateReadOnly, "quarantined").ID, "damaged"))
	packedLately := deleted(sharedbase.StatePacked, "packed lately")
	ofPython := shardIn(t, b, sharedbase.StateReadOnly, object("python"))
	exec(t, conn, "UPDATE signature2shard SET state = 'deleted' WHERE shard = $1", ofPython.ID)
	exec(t, conn, "UPDATE winery_erasure SET noted = noted - interval '23 hours'")
	exec(t, conn, "UPDATE winery_deletion SET at = at - interval '25 hours'")
	exec(t, conn, "UPDATE winery_state SET since = since - interval '26 hours' WHERE shard <> $1", packedLately.ID)
	exec(t, conn, "UPDATE winery_state SET since = since - interval '1 year' WHERE shard = $1", ofPython.ID)
	want := func(objects int64, from, to time.Duration) {
		t.Helper()
		u := must(b.Unerased(t.Context()))(t)
		if len(u) != 1 || u[0].Pool != "pool" || u[0].Objects != objects || u[0].Shards != objects || u[0].Oldest < from || u[0].Oldest > to {
			t.Errorf("unerased %+v", u)
		}
	}
	want(4, 25*time.Hour, 26*time.Hour)
	exec(t, conn, "DELETE FROM winery_deletion")
	want(4, 23*time.Hour, 24*time.Hour) // of the note alone
	exec(t, conn, "DELETE FROM winery_erasure")
	want(3, 0, 0)
	exec(t, conn, "DELETE FROM signature2shard")
	if u := must(b.Unerased(t.Context()))(t); len(u) != 0 {
		t.Errorf("unerased %+v", u)
	}
}
