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
	alive := must(b.CreateShard(t.Context(), sharedbase.StateWriting, "pool"))(t)
	dead := must(b.CreateShard(t.Context(), sharedbase.StateWriting, "pool"))(t)
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
	must(b.RecordShardMapped(t.Context(), "host", shards[0].Name))(t)
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

// TestNotesFor counts only notes that a cleaner could have processed in that time.
func TestNotesFor(t *testing.T) {
	b, conn := newBase(t)
	noted := func(state sharedbase.ShardState, content string) sharedbase.Shard {
		s := shardIn(t, b, state, object(content))
		expect.NoError(t, b.Delete(t.Context(), object(content).ID))
		shardIn(t, b, sharedbase.StateStandby, object(content)) // added again: the deletion is noted
		return s
	}
	noted(sharedbase.StatePacked, "old")
	noted(sharedbase.StateStandby, "not packed")
	young := noted(sharedbase.StatePacked, "young")
	packedLately := noted(sharedbase.StatePacked, "packed lately")
	if n := count(t, conn, "SELECT count(*) FROM winery_erasure"); n != 4 {
		t.Fatalf("%d notes", n)
	}
	exec(t, conn, "UPDATE winery_erasure SET noted = noted - interval '25 hours' WHERE shard <> $1", young.ID)
	exec(t, conn, "UPDATE winery_state SET since = since - interval '26 hours' WHERE shard <> $1", packedLately.ID)
	n := must(b.NotesFor(t.Context(), 24*time.Hour))(t)
	if n.Notes != 1 || n.Shards != 1 || n.Oldest < 25*time.Hour || n.Oldest > 26*time.Hour {
		t.Errorf("overdue %+v", n)
	}
}
