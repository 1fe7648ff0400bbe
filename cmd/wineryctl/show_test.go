// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestShow shows a shard that is packed, locked, quarantined and mapped, has a record of
// its image, and deleted objects; and one that has nothing of it.
func TestShow(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	objects := roletest.Objects(1, 5, 100)
	claim := s.writing(t, "files", objects)
	name := claim.Name()
	text := s.must(t, "shards", "show", name)
	for _, want := range []string{"in this state since:  20", "locked by:            test on ", "image mapped by:      no host\n", "image as packed:      no record\n",
		"table:                5 objects, ", "objects:              5 present, 0 deleted, 0 noted to be erased, 0 in flight\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "quarantined") {
		t.Errorf("not quarantined:\n%s", text)
	}

	expect.NoError(t, claim.SetState(t.Context(), sharedbase.StateFull))
	claim, err := s.base.LockOneShard(t.Context(), sharedbase.StateFull, sharedbase.StatePacking, sharedbase.ClaimFilter{})
	expect.NoError(t, err)
	expect.NoError(t, claim.Packed(t.Context(), sharedbase.ImageRecord{Objects: 5, Bytes: 300, Fingerprint: [32]byte{0xab}}))
	expect.NoError(t, s.base.Delete(t.Context(), objects[1].ID))
	_, err = s.base.RecordShardMapped(t.Context(), "ceph3", claim.Pool(), name)
	expect.NoError(t, err)
	_, err = s.base.ClaimImage(t.Context(), name)
	expect.NoError(t, err)
	expect.NoError(t, s.base.Quarantine(t.Context(), claim.ID(), "object damaged"))
	host, err := os.Hostname()
	expect.NoError(t, err)
	text = s.must(t, "shards", "show", name)
	for _, want := range []string{"by test on " + host + ": object damaged\n", fmt.Sprintf("image claimed by:     test on %s (pid %d), until ", host, os.Getpid()),
		"image mapped by:      ceph3\n", "image as packed:      5 objects, 300 B, fingerprint ab00", "4 present, 1 deleted"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var shown map[string]any
	expect.NoError(t, json.Unmarshal([]byte(s.must(t, "shards", "show", name, "--output", "json")), &shown))
	if shown["quarantine"].(map[string]any)["reason"] != "object damaged" || shown["objects"].(map[string]any)["deleted"] != 1.0 ||
		shown["packed"].(map[string]any)["objects"] != 5.0 || shown["name"] != name || shown["table"] == nil {
		t.Errorf("%v", shown)
	}
	s.fails(t, 1, "there is no shard xyz; see `wineryctl shards list`", "shards", "show", "xyz")
	s.fails(t, 78, "takes the NAME of one shard", "shards", "show")
}

// TestLocate: an object is read from the table, from the image once it is mapped on this
// host, from the image of another pool after a migration, or not at all.
func TestLocate(t *testing.T) {
	files, other := roletest.Directory(t, ""), roletest.Directory(t, "")
	other.Name = "other"
	s := newSite(t, files, other)
	s.must(t, "db", "init")
	objects := roletest.Objects(1, 3, 100)
	claim := s.writing(t, "files", objects)
	id := hex.EncodeToString(objects[0].ID[:])
	located := func(state, pool, from string) {
		t.Helper()
		rows := s.rows(t, "objects", "locate", id)
		if row := rows[0]; row["shard"] != claim.Name() || row["state"] != state || row["pool"] != pool || row["read_from"] != from {
			t.Errorf("%v", row)
		}
	}
	located("writing", "files", "table")
	if text := s.must(t, "objects", "locate", id); !strings.HasSuffix(text, "  table shard_"+claim.Name()+"\n") {
		t.Errorf("%s", text)
	}

	s.sql(t, "UPDATE shards SET state = 'packed', locker = NULL")
	located("packed", "files", "table") // this host has no image
	roletest.Put(t, s.pools["files"], claim.Name(), objects)
	located("packed", "files", "image")
	s.sql(t, "UPDATE shards SET state = 'readonly'")
	located("readonly", "files", "image")
	s.sql(t, "UPDATE shards SET pool_name = 'other'")
	located("readonly", "other", "image") // of the pool files
	if text := s.must(t, "objects", "locate", id); !strings.HasSuffix(text, "  image in pool files\n") {
		t.Errorf("%s", text)
	}
	expect.NoError(t, s.pools["files"].Remove(t.Context(), claim.Name(), pooltest.Anything{}))
	located("readonly", "other", "unavailable")

	expect.NoError(t, s.base.Delete(t.Context(), objects[0].ID))
	s.fails(t, 1, "1 of 1 objects are absent or deleted", "objects", "locate", id)
	s.fails(t, 78, "at least one SHA256", "objects", "locate")
}

// TestReleaseHolder releases the shards of one holder whose leases have expired, and
// those of a holder that is alive only by force.
func TestReleaseHolder(t *testing.T) {
	s := newSite(t, roletest.Directory(t, ""))
	s.must(t, "db", "init")
	shards := map[string]string{}
	for _, holder := range []string{"ceph3:writer", "ceph3:packer", "ceph4:writer"} {
		claim, err := s.base.CreateShard(t.Context(), "files")
		expect.NoError(t, err)
		shards[holder] = claim.Name()
		host, role, _ := strings.Cut(holder, ":")
		s.sql(t, fmt.Sprintf("UPDATE winery_lease SET host = '%s', role = '%s' WHERE shard = %d", host, role, claim.ID()))
	}
	s.sql(t, "INSERT INTO shards (name, state, pool_name, locker, locker_ts) VALUES ('python', 'packing', 'files', gen_random_uuid(), now() - interval '3 days')")
	expire := func(holder string) {
		s.sql(t, "UPDATE winery_lease SET expires = now() - interval '1 s', locker = locker WHERE shard = (SELECT id FROM shards WHERE name = '"+shards[holder]+"')")
	}
	expire("ceph3:writer")
	s.fails(t, 1, "packer on ceph3 (pid", "shards", "release", "--holder", "ceph3")
	states := func() string { return s.sql(t, "SELECT string_agg(state::text, ' ' ORDER BY id) FROM shards") }
	if got := states(); got != "standby writing writing packing" {
		t.Errorf("after the release of ceph3: %s", got)
	}
	expire("ceph4:writer")
	if got := s.must(t, "shards", "release", "--holder", "ceph4:packer"); got != "no stale shard\n" {
		t.Errorf("another role of the host: %s", got)
	}
	for _, misspelt := range []string{"ceph5", "ceph5:writer", "ceph"} {
		s.fails(t, 1, "no shard, process or lease names host ", "shards", "release", "--holder", misspelt)
	}
	s.fails(t, 1, "host ceph5; see `wineryctl hosts list`", "shards", "release", "--holder", "ceph5:writer", "--dry-run", "--output", "json")
	if got := s.must(t, "shards", "release", "--holder", "ceph4:writer", "--dry-run"); !strings.Contains(got, "would release "+shards["ceph4:writer"]) {
		t.Errorf("dry run: %s", got)
	}
	s.must(t, "shards", "release", "--holder", "ceph4:writer")
	s.must(t, "shards", "release", "--holder", "ceph3:packer", "--force")
	if got := states(); got != "standby standby standby packing" {
		t.Errorf("at the end: %s", got)
	}
	s.fails(t, 78, "exclude each other", "shards", "release", "--holder", "ceph3", "--duration", "1h")
}
