// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"strings"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// TestStatistics: shards are counted by pool and state, with the age of the oldest
// in its state, the size of the tables that wait for a packer, and the quarantine.
func TestStatistics(t *testing.T) {
	b, conn := newBase(t)
	large := object(strings.Repeat("not compressible? ", 1000))
	old := shardIn(t, b, sharedbase.StateFull, object("1"), object("2"), large)
	shardIn(t, b, sharedbase.StateFull)
	shardIn(t, b, sharedbase.StateReadOnly)
	damaged := shardIn(t, b, sharedbase.StatePacked, object("3"))
	expect.NoError(t, b.Quarantine(t.Context(), damaged.ID, "damaged"))
	must(b.CreateShard(t.Context(), "other"))(t)
	exec(t, conn, "UPDATE winery_state SET since = since - interval '1 hour' WHERE shard = $1", old.ID)
	exec(t, conn, "UPDATE shards SET mapped_on_hosts_when_packed = '{host}'") // is no change of the state

	found := map[string]sharedbase.ShardStatistics{}
	for _, s := range must(b.Statistics(t.Context()))(t) {
		found[s.Pool+" "+string(s.State)] = s
	}
	if len(found) != 4 || found["other writing"].Shards != 1 || found["pool readonly"].Shards != 1 {
		t.Errorf("found %+v", found)
	}
	full := found["pool full"]
	if full.Shards != 2 || full.Oldest < time.Hour || full.Oldest > 2*time.Hour || full.TableBytes < 3*8192 {
		t.Errorf("full: %+v", full)
	}
	packed := found["pool packed"]
	if packed.Quarantined != 1 || packed.TableBytes != 0 || packed.Oldest != 0 { // of the others, of which there are none
		t.Errorf("packed: %+v", packed)
	}
	if since := must(b.InStateSince(t.Context(), old.ID))(t); time.Since(since) < time.Hour || time.Since(since) > 2*time.Hour {
		t.Errorf("the old shard is in its state since %v", since)
	}
	if since := must(b.InStateSince(t.Context(), 1_000_000))(t); !since.IsZero() {
		t.Errorf("a shard that does not exist is in its state since %v", since)
	}
	must(b.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{Name: old.Name}))(t)
	for _, s := range must(b.Statistics(t.Context()))(t) {
		if s.Pool == "pool" && s.Oldest > time.Hour {
			t.Errorf("the age is not that of the state: %+v", s)
		}
	}
}

// TestFailedTries: a try to pack or to clean a shard that fails does not begin the time
// again for which the shard has waited.
func TestFailedTries(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull, object("1"))
	exec(t, conn, "UPDATE winery_state SET since = since - interval '1 hour'")
	wait := func(state sharedbase.ShardState, long bool) {
		t.Helper()
		of := must(b.Statistics(t.Context()))(t)
		if len(of) != 1 || of[0].State != state || of[0].Oldest >= time.Hour != long {
			t.Errorf("%+v; want a shard %s, for longer than an hour: %t", of, state, long)
		}
	}
	for range 2 {
		try := claim(t, b, s, sharedbase.StatePacking)
		wait(sharedbase.StatePacking, false)
		expect.NoError(t, try.Release(t.Context()))
		wait(sharedbase.StateFull, true)
	}
	expect.NoError(t, claim(t, b, s, sharedbase.StatePacking).Packed(t.Context(), sharedbase.ImageRecord{Objects: 1}))
	wait(sharedbase.StatePacked, false)
	exec(t, conn, "UPDATE winery_state SET since = since - interval '2 hours'")
	s.State = sharedbase.StatePacked
	try := claim(t, b, s, sharedbase.StateCleaning)
	wait(sharedbase.StateCleaning, false)
	expect.NoError(t, try.Release(t.Context()))
	wait(sharedbase.StatePacked, true)
}

// TestVerified: a packer's read-back and a scrub count as verifications, and an image
// of Python's was never verified.
func TestVerified(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull, object("1"))
	expect.NoError(t, claim(t, b, s, sharedbase.StatePacking).Packed(t.Context(), sharedbase.ImageRecord{Objects: 1}))
	exec(t, conn, "UPDATE winery_verification SET at = at - interval '1 day'")
	exec(t, conn, "INSERT INTO shards (name, state, pool_name) VALUES ('python', 'packed', 'pool'), ('empty', 'standby', 'pool')")
	packed := func() sharedbase.ShardStatistics {
		t.Helper()
		for _, of := range must(b.Statistics(t.Context()))(t) {
			if of.State == sharedbase.StatePacked {
				return of
			}
			if of.NeverVerified != 0 || of.OldestVerified != 0 {
				t.Errorf("there is no image: %+v", of)
			}
		}
		t.Fatal("no shard is packed")
		return sharedbase.ShardStatistics{}
	}
	if of := packed(); of.NeverVerified != 1 || of.OldestVerified < 24*time.Hour {
		t.Errorf("before: %+v", of)
	}
	expect.NoError(t, b.RecordVerified(t.Context(), s.ID))
	expect.NoError(t, b.RecordVerified(t.Context(), must(b.ShardByName(t.Context(), "python"))(t).ID))
	if of := packed(); of.NeverVerified != 0 || of.OldestVerified > time.Hour {
		t.Errorf("after: %+v", of)
	}
}

// TestStatesOfOthers: changes by a user who has no rights on the table of states,
// as Python Winery's may, are noted, and a table of the session's own does not
// divert them. Shards that are older than the table count from its creation.
func TestStatesOfOthers(t *testing.T) {
	dsn := detached(t)
	owner := connect(t, dsn)
	exec(t, owner, "INSERT INTO shards (name, state, pool_name, locker, locker_ts) VALUES "+
		"('a', 'full', 'pool', NULL, NULL), ('b', 'packing', 'pool', gen_random_uuid(), now() - interval '1 day')")
	b := open(t, dsn)
	expect.NoError(t, b.Attach(t.Context()))
	python := connect(t, stranger(t, dsn, "SELECT, UPDATE ON shards"))
	exec(t, python, "CREATE TEMPORARY TABLE winery_state (shard bigint PRIMARY KEY, since timestamptz)")
	exec(t, owner, "UPDATE winery_state SET since = since - interval '1 hour' WHERE shard = (SELECT id FROM shards WHERE name = 'a')")
	ages := func() map[sharedbase.ShardState]time.Duration {
		found := map[sharedbase.ShardState]time.Duration{}
		for _, s := range must(b.Statistics(t.Context()))(t) {
			found[s.State] = s.Oldest
		}
		return found
	}
	if before := ages(); before["full"] < time.Hour || before["packing"] < 24*time.Hour {
		t.Errorf("ages %v", before)
	}
	exec(t, python, "UPDATE shards SET state = 'standby' WHERE name = 'a'")
	if after := ages(); after["standby"] > time.Minute {
		t.Errorf("ages %v", after)
	}
}

// BenchmarkStatistics counts 100,000 shards.
func BenchmarkStatistics(b *testing.B) {
	dsn := pgtest.New(b)
	base := open(b, dsn)
	must(base.Init(b.Context()))(b)
	exec(b, connect(b, dsn), `INSERT INTO shards (name, state, pool_name)
		SELECT 'i' || n, 'readonly', 'pool' || n % 3 FROM generate_series(1, 100000) n`)
	for b.Loop() {
		must(base.Statistics(b.Context()))(b)
	}
}
