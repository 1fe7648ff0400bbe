// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"winery/internal/config"
	"winery/internal/packer"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// A database that was restored from a backup does not know the shards that were
// packed after the backup. The pool is adopted and the index reconciled, by the steps
// of docs/operations.md: no object of an image, of the backup, or stored after the
// restore is lost.
func TestReconcile(t *testing.T) {
	for name, quarantined := range map[string]bool{"roles did not start": false, "a packer quarantined the shard": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			dir := roletest.Directory(t, "")
			before := newSite(t, dir)
			before.must(t, "db", "init")
			objects := roletest.Objects(1, 400, 1000)
			backedUp, packed, unknown, later := objects[:100], objects[100:200], objects[200:300], objects[300:]
			first := before.store(t, backedUp)
			again := packed[0] // deleted before the backup, and added again after it
			expect.NoError(t, before.add(t, first, again))
			expect.NoError(t, before.base.Delete(ctx, again.ID))
			backup := pgtest.Copy(t, before.dsn)
			before = newSiteOn(t, before.dsn, dir) // its connections were terminated

			claim, err := before.base.LockWritingShard(ctx, dir.Name)
			expect.NoError(t, err)
			_, err = before.base.Add(ctx, claim, packed)
			expect.NoError(t, err)
			expect.NoError(t, claim.SetState(ctx, sharedbase.StateFull))
			second := before.store(t, unknown)
			before.must(t, "shards", "seal", second)
			pack := func(s *site) error {
				p := packer.New(packer.Options{Base: s.base, Pools: s.pools, Log: slog.New(slog.DiscardHandler)})
				worked, err := p.Step(ctx)
				for worked && err == nil {
					worked, err = p.Step(ctx)
				}
				return err
			}
			expect.NoError(t, pack(before))

			after := newSiteOn(t, backup, dir)
			after.fails(t, 1, "wineryctl pool", "index", "reconcile", "--dry-run")
			after.must(t, "pool", "adopt", "--yes", dir.Name)
			claim, err = after.base.LockWritingShard(ctx, dir.Name)
			expect.NoError(t, err)
			if claim.Name() != first {
				t.Fatalf("locked %s, want %s", claim.Name(), first)
			}
			_, err = after.base.Add(ctx, claim, later)
			expect.NoError(t, err)
			expect.NoError(t, claim.Release(ctx))
			if quarantined {
				after.must(t, "shards", "seal", first)
				if err := pack(after); err == nil || !strings.Contains(err.Error(), "wineryctl index reconcile") {
					t.Fatalf("packing over a newer image: %v", err)
				}
			}

			if out := after.must(t, "index", "reconcile", "--dry-run"); !strings.Contains(out, first) || !strings.Contains(out, second) {
				t.Errorf("dry run: %s", out)
			}
			if s, err := after.base.ShardByName(ctx, first); err != nil || s.State == sharedbase.StateReadOnly {
				t.Fatalf("after a dry run: %+v, %v", s, err)
			}
			rows := after.rows(t, "index", "reconcile")
			if len(rows) != 2 || rows[0]["image"] != first || rows[0]["new"] != 100.0 || rows[0]["moved"] != 100.0 || rows[1]["image"] != second {
				t.Errorf("reconciled: %v", rows)
			}
			if rows := after.rows(t, "index", "reconcile"); len(rows) != 0 {
				t.Errorf("reconciled again: %v", rows)
			}
			rest := rows[0]["moved_to"].(string)
			after.wantIn(t, first, sharedbase.StateReadOnly, slices.Concat(backedUp, packed))
			after.wantIn(t, second, sharedbase.StateReadOnly, unknown)
			after.wantIn(t, rest, sharedbase.StateStandby, later)
			after.must(t, "verify")
			if rows := after.rows(t, "shards", "quarantined"); len(rows) != 0 {
				t.Errorf("quarantined: %v", rows)
			}
		})
	}
}

// TestReconcileClaimed: of a shard that was claimed when the backup was made, the dry run
// says what the real run does, which first reclaims shards whose lease has expired.
func TestReconcileClaimed(t *testing.T) {
	for name, test := range map[string]struct {
		state, lease string // a lease of "": none, as of Python Winery
		was, failure string // "": the image is not mentioned; the command succeeds
	}{
		"packing until the backup": {"packing", "-1 hour", "full", ""},
		"packing":                  {"packing", "1 hour", "", ""},
		"writing until the backup": {"writing", "-1 hour", "standby", ""},
		"writing":                  {"writing", "1 hour", "writing", ": stop test on away (pid 1) first"},
		"writing by Python":        {"writing", "", "writing", "`wineryctl shards release --duration 0s --shard "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := roletest.Directory(t, "")
			s := newSite(t, dir)
			s.must(t, "db", "init")
			objects := roletest.Objects(1, 20, 1000)
			shard := s.store(t, objects)
			roletest.Put(t, s.pools[dir.Name], shard, objects)
			s.sql(t, fmt.Sprintf(`UPDATE shards SET state = '%s', locker = gen_random_uuid(), locker_ts = now();
				DELETE FROM winery_lease;
				INSERT INTO winery_lease (shard, locker, role, host, pid, version, expires)
				SELECT id, locker, 'test', 'away', 1, '', now() + nullif('%s', '')::interval FROM shards WHERE '%[2]s' <> ''`, test.state, test.lease))
			for _, args := range [][]string{{"--dry-run"}, {}} {
				stdout, stderr, status := ctl(t, append([]string{"--config", s.config, "index", "reconcile", "--output", "json"}, args...)...)
				var rows []adoption
				expect.NoError(t, json.Unmarshal([]byte(stdout), &rows))
				if test.was == "" {
					if len(rows) > 0 || status != 0 {
						t.Errorf("%q: status %d, %+v", args, status, rows)
					}
					continue
				}
				want := adoption{Image: shard, Was: test.was, Objects: 20}
				wantStatus := 0
				if test.failure != "" {
					want.Objects, wantStatus = 0, 1
				}
				if len(rows) != 1 || !strings.Contains(rows[0].Error, test.failure) || (rows[0].Error == "") != (wantStatus == 0) {
					t.Fatalf("%q: %+v, want error %q", args, rows, test.failure)
				}
				rows[0].Error = ""
				if rows[0] != want || status != wantStatus {
					t.Errorf("%q: status %d, %+v, want %+v; %s", args, status, rows, want, stderr)
				}
			}
		})
	}
}

// TestReconcileMigrated: an image that was packed and migrated to another pool after the
// backup is found there and adopted. One that a migration left behind is not adopted twice.
func TestReconcileMigrated(t *testing.T) {
	objects := roletest.Objects(1, 60, 1000)
	for name, test := range map[string]struct {
		full, left bool
		pool       string
	}{
		"standby":                   {false, false, "to"},
		"full":                      {true, false, "to"},
		"the source is still there": {false, true, "files"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := roletest.Directory(t, ""), roletest.Directory(t, "")
			to.Name = "to"
			s := newSite(t, from, to)
			s.must(t, "db", "init")
			claim := s.writing(t, from.Name, objects[:20])
			shard := claim.Name()
			expect.NoError(t, claim.Release(t.Context()))
			if test.full {
				s.must(t, "shards", "seal", shard)
			}
			images := []string{to.Name}
			if test.left {
				images = []string{to.Name, from.Name}
			}
			for _, pool := range images {
				roletest.Put(t, s.pools[pool], shard, objects)
			}
			if stdout, stderr, status := ctl(t, "--config", s.config, "verify"); status != 1 || !strings.Contains(stdout, shard+": newer image: pool to ") {
				t.Errorf("verify: status %d, %s%s", status, stdout, stderr)
			}
			rows := s.rows(t, "index", "reconcile")
			if len(rows) != 1 || rows[0]["pool"] != test.pool || rows[0]["image"] != shard || rows[0]["new"] != 40.0 {
				t.Errorf("reconciled: %v", rows)
			}
			s.wantIn(t, shard, sharedbase.StateReadOnly, objects)
			if got := s.sql(t, "SELECT pool_name FROM shards"); got != test.pool {
				t.Errorf("the shard is in pool %s, want %s", got, test.pool)
			}
			s.must(t, "verify")
		})
	}
}

// TestReconcileReadsUnknown: the dry run reads images that the database does not know, and
// refuses a damaged one as the real run does.
func TestReconcileReadsUnknown(t *testing.T) {
	dir := roletest.Directory(t, "")
	s := newSite(t, dir)
	s.must(t, "db", "init")
	roletest.Put(t, s.pools[dir.Name], "damaged", roletest.Objects(1, 20, 1000))
	roletest.Put(t, s.pools[dir.Name], "intact", roletest.Objects(2, 30, 1000))
	e, err := s.pools[dir.Name].Edit(t.Context(), "damaged", pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.WriteAt([]byte{0xaa, 0xbb, 0xcc, 0xdd}, 3000)
	expect.NoError(t, errors.Join(err, e.Close()))
	for _, args := range [][]string{{"--dry-run"}, {}} {
		stdout, stderr, status := ctl(t, append([]string{"--config", s.config, "index", "reconcile", "--output", "json"}, args...)...)
		var rows []adoption
		expect.NoError(t, json.Unmarshal([]byte(stdout), &rows))
		slices.SortFunc(rows, func(a, b adoption) int { return strings.Compare(a.Image, b.Image) })
		if status != 1 || len(rows) != 2 || !strings.Contains(rows[0].Error, "is damaged at byte") ||
			rows[1] != (adoption{Image: "intact", Objects: 30}) {
			t.Errorf("%q: status %d, %+v; %s", args, status, rows, stderr)
		}
	}
}

// TestReconcileErased: objects that were erased after the backup are stored again, if a client
// sends them again, also one that is in an image which the backup does not have.
func TestReconcileErased(t *testing.T) {
	dir := roletest.Directory(t, "")
	before := newSite(t, dir)
	before.must(t, "db", "init")
	objects := roletest.Objects(1, 60, 1000)
	old, later := objects[:40], objects[40:]
	gone, again := old[10], old[20]
	roletest.Put(t, before.pools[dir.Name], "first", old)
	before.must(t, "shards", "import")
	backup := pgtest.Copy(t, before.dsn)
	before = newSiteOn(t, before.dsn, dir) // its connections were terminated

	for _, o := range []sharedbase.Object{gone, again} {
		expect.NoError(t, before.base.Delete(t.Context(), o.ID))
	}
	before.must(t, "objects", "clean-deleted")
	second := before.packed(t, append(later[:len(later):len(later)], again))

	after := newSiteOn(t, backup, dir)
	after.must(t, "pool", "adopt", "--yes", dir.Name)
	if rows := after.rows(t, "index", "reconcile", "--dry-run", "--skip-erased"); len(rows) != 1 || rows[0]["image"] != second {
		t.Errorf("without a look for erased objects: %v", rows)
	}
	for _, args := range [][]string{{"--dry-run"}, {"--workers", "2"}} {
		rows := after.rows(t, append([]string{"index", "reconcile"}, args...)...)
		if len(rows) != 2 || rows[0]["image"] != "first" || rows[0]["was"] != "readonly" || len(rows[0]["removed"].([]any)) != 2 || rows[1]["image"] != second {
			t.Fatalf("reconciled %v: %v", args, rows)
		}
	}
	after.wantIn(t, second, sharedbase.StateReadOnly, []sharedbase.Object{again})
	if rows := after.rows(t, "index", "reconcile"); len(rows) != 0 {
		t.Errorf("reconciled again: %v", rows)
	}
	after.must(t, "verify")
	claim, err := after.base.CreateShard(t.Context(), dir.Name)
	expect.NoError(t, err)
	added, err := after.base.Add(t.Context(), claim, objects)
	if err != nil || added.Objects != 1 {
		t.Errorf("sent again: %+v, %v", added, err)
	}
	expect.NoError(t, claim.Release(t.Context()))
	after.wantObjects(t, objects)
}

// TestReconcileErasedPacked: where the backup still has the table, the image is made again from
// the table.
func TestReconcileErasedPacked(t *testing.T) {
	dir := roletest.Directory(t, "")
	before := newSite(t, dir)
	before.must(t, "db", "init")
	objects := roletest.Objects(1, 40, 1000)
	shard := before.packed(t, objects)
	backup := pgtest.Copy(t, before.dsn)
	before = newSiteOn(t, before.dsn, dir)
	expect.NoError(t, before.base.Delete(t.Context(), objects[10].ID))
	before.must(t, "objects", "clean-deleted")

	after := newSiteOn(t, backup, dir)
	after.must(t, "pool", "adopt", "--yes", dir.Name)
	for _, args := range [][]string{{"--dry-run"}, {}} {
		after.fails(t, 1, "run `wineryctl verify --repair --shard "+shard+"`", append([]string{"index", "reconcile"}, args...)...)
	}
	after.must(t, "verify", "--repair", "--shard", shard)
	after.must(t, "index", "reconcile")
	after.wantObjects(t, objects)
}

// importedSite has two pools, and a readonly shard of objects, "image", in the first.
func importedSite(t *testing.T) (s *site, from, to config.Pool, objects []sharedbase.Object) {
	t.Helper()
	from, to = roletest.Directory(t, ""), roletest.Directory(t, "")
	to.Name = "to"
	s = newSite(t, from, to)
	s.must(t, "db", "init")
	objects = roletest.Objects(1, 40, 1000)
	roletest.Put(t, s.pools[from.Name], "image", objects)
	s.must(t, "shards", "import")
	return s, from, to, objects
}

// TestReconcileErasedMigrated: a readonly shard was migrated after the backup, and an object was
// erased then. The shard is moved to the pool that has its image, also if the old pool was
// retired; other images of its name are not trusted.
func TestReconcileErasedMigrated(t *testing.T) {
	for name, retired := range map[string]bool{"the image was removed": false, "the pool was retired": true} {
		t.Run(name, func(t *testing.T) {
			before, from, to, objects := importedSite(t)
			backup := pgtest.Copy(t, before.dsn)
			before = newSiteOn(t, before.dsn, from, to) // its connections were terminated
			before.must(t, "shards", "migrate", from.Name, to.Name)
			expect.NoError(t, before.pools[from.Name].Remove(t.Context(), "image", pooltest.Anything{}))
			expect.NoError(t, before.base.Delete(t.Context(), objects[10].ID))
			before.must(t, "objects", "clean-deleted")

			after := newSiteOn(t, backup, to, from)
			if retired {
				after = newSiteOn(t, backup, to)
			} else {
				after.fails(t, 1, "1 images that the database records there are missing", "pool", "adopt", "--yes", "--replace-identity", from.Name)
			}
			after.must(t, "pool", "adopt", "--yes", to.Name)
			for _, args := range [][]string{{"--dry-run"}, {}} {
				rows := after.rows(t, append([]string{"index", "reconcile"}, args...)...)
				if len(rows) != 1 || rows[0]["image"] != "image" || rows[0]["in_pool"] != to.Name || len(rows[0]["removed"].([]any)) != 1 {
					t.Fatalf("reconciled %v: %v", args, rows)
				}
			}
			if rows := after.rows(t, "index", "reconcile"); len(rows) != 0 {
				t.Errorf("reconciled again: %v", rows)
			}
			after.must(t, "verify")
			after.wantIn(t, "image", sharedbase.StateReadOnly, slices.Concat(objects[:10], objects[11:]))
			if got := after.sql(t, "SELECT pool_name FROM shards"); got != to.Name {
				t.Errorf("the shard is in pool %s", got)
			}
		})
	}
}

// TestReconcileMissing: a shard whose image no configured pool has is a failure, also if its pool
// is not configured, and stays as it is.
func TestReconcileMissing(t *testing.T) {
	s, from, to, objects := importedSite(t)
	roletest.Put(t, s.pools[to.Name], "image", objects[1:])
	without := newSiteOn(t, s.dsn, to)
	without.fails(t, 1, "is not the one that was packed", "index", "reconcile")
	expect.NoError(t, s.pools[to.Name].Remove(t.Context(), "image", pooltest.Anything{}))
	without.fails(t, 1, "pool "+from.Name+" is not configured", "index", "reconcile")
	if got := s.sql(t, "SELECT pool_name FROM shards"); got != from.Name {
		t.Errorf("the shard is in pool %s", got)
	}
	s.must(t, "index", "reconcile")
	s.must(t, "verify")
}

// packed stores objects in a new shard, and packs the shard.
func (s *site) packed(t *testing.T, objects []sharedbase.Object) (shard string) {
	t.Helper()
	shard = s.store(t, objects)
	s.must(t, "shards", "seal", shard)
	worked, err := packer.New(packer.Options{Base: s.base, Pools: s.pools, Log: slog.New(slog.DiscardHandler)}).Step(t.Context())
	if err != nil || !worked {
		t.Fatalf("packing: %v, %v", worked, err)
	}
	return shard
}

// adoption is a result of index reconcile.
type adoption struct {
	Image, Was string
	Objects    int
	Error      string
}

// An image with a damaged header is a failure, not an image that the next packer replaces.
func TestReconcileDamagedHeader(t *testing.T) {
	dir := roletest.Directory(t, "")
	s := newSite(t, dir)
	s.must(t, "db", "init")
	shard := s.store(t, roletest.Objects(1, 10, 1000))
	expect.NoError(t, os.WriteFile(filepath.Join(dir.BaseDirectory, dir.Name, shard), bytes.Repeat([]byte("damage"), 1000), 0o400))
	for _, args := range [][]string{{"index", "reconcile", "--dry-run"}, {"index", "reconcile"}} {
		s.fails(t, 1, dir.Name+"/"+shard+": ", args...)
	}
	if got, err := s.base.ShardByName(t.Context(), shard); err != nil || got.State != sharedbase.StateStandby {
		t.Errorf("afterwards: %+v, %v", got, err)
	}
}

// add adds an object to a standby shard.
func (s *site) add(t *testing.T, shard string, o sharedbase.Object) error {
	t.Helper()
	claim, err := s.base.LockOneShard(t.Context(), sharedbase.StateStandby, sharedbase.StateWriting, sharedbase.ClaimFilter{Name: shard})
	expect.NoError(t, err)
	_, err = s.base.Add(t.Context(), claim, []sharedbase.Object{o})
	return errors.Join(err, claim.Release(t.Context()))
}

// store stores objects in a new shard, which is standby afterwards.
func (s *site) store(t *testing.T, objects []sharedbase.Object) (shard string) {
	t.Helper()
	for pool := range s.pools {
		claim := s.writing(t, pool, objects)
		expect.NoError(t, claim.Release(t.Context()))
		return claim.Name()
	}
	return ""
}

// wantIn fails the test unless the index has objects in a shard of that state.
func (s *site) wantIn(t *testing.T, shard string, state sharedbase.ShardState, objects []sharedbase.Object) {
	t.Helper()
	ids := make([]sharedbase.ObjID, len(objects))
	for i, o := range objects {
		ids[i] = o.ID
	}
	at, err := s.base.Locate(t.Context(), ids)
	expect.NoError(t, err)
	for i, l := range at {
		if l.Shard != shard || l.State != state {
			t.Fatalf("object %x is in shard %q (%s), want %s (%s)", ids[i], l.Shard, l.State, shard, state)
		}
	}
}
