// SPDX-License-Identifier: GPL-3.0-or-later

package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"winery/internal/packer"
	"winery/internal/storage"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
	"winery/test/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(s3test.Tests{M: m}) }

// owned returns a pool as a role of base has it.
func owned(s *roletest.Stage, base *sharedbase.SharedBase) pool.Pool {
	return s.Pools.Owned(base, s.Log)[s.Config.Name]
}

// another connects to a database once more, or to another one.
func another(t *testing.T, dsn string) *sharedbase.SharedBase {
	t.Helper()
	base, err := sharedbase.New(dsn, "test")
	expect.NoError(t, err)
	t.Cleanup(base.Close)
	return base
}

// packed has the pool hold the image of a shard, packed as Python Winery does it:
// without a marker and a record.
func packed(t *testing.T, s *roletest.Stage) (name string) {
	t.Helper()
	name = s.Full(t, roletest.Objects(1, 10, 100))
	_, err := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step(t.Context())
	expect.NoError(t, err)
	s.WantState(t, name, sharedbase.StatePacked)
	return name
}

func wantState(t *testing.T, s *roletest.Stage, base *sharedbase.SharedBase, want storage.IdentityState) storage.Identity {
	t.Helper()
	i, err := storage.Identify(t.Context(), base, s.Pool)
	expect.NoError(t, err)
	if i.State != want {
		t.Fatalf("the pool is %q, want %q (%v)", i.State, want, i.Why)
	}
	return i
}

// wantRefused wants a *RefusedError that says all of says.
func wantRefused(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	if !errors.As(err, new(*storage.RefusedError)) {
		t.Fatalf("%s: got %v, want a refusal", what, err)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %q does not say %q", what, err, text)
		}
	}
}

func marked(t *testing.T, s *roletest.Stage) (m storage.Marker) {
	t.Helper()
	text, err := s.Pool.Marker(t.Context())
	expect.NoError(t, err)
	expect.NoError(t, json.Unmarshal(text, &m))
	return m
}

// TestAdopted: a pool of Python Winery's is adopted by the first role that uses it,
// of many that start at once by one.
func TestAdopted(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		name := packed(t, s)
		expect.NoError(t, s.Pool.Reserve(t.Context(), s.Full(t, roletest.Objects(2, 3, 100)))) // by a mapper, for a packer
		wantState(t, s, s.Base, storage.New)
		var roles sync.WaitGroup
		for range 8 {
			p := owned(s, s.Base)
			roles.Go(func() {
				img, err := p.Open(t.Context(), name)
				if err == nil {
					err = img.Close()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		roles.Wait()
		i := wantState(t, s, s.Base, storage.Recorded)
		if i.Marker.UUID == uuid.Nil || i.Marker.UUID != i.Record.UUID || i.Marker != marked(t, s) {
			t.Errorf("%+v", i)
		}
	})
}

// TestAdoptionInterrupted: the marker is written, and not recorded.
func TestAdoptionInterrupted(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	_, err := owned(s, s.Base).List(t.Context())
	expect.NoError(t, err)
	before := marked(t, s)
	pgtest.Exec(t, s.DSN, "DELETE FROM winery_pool")
	wantState(t, s, s.Base, storage.NotRecorded)
	_, err = owned(s, s.Base).List(t.Context())
	expect.NoError(t, err)
	if i := wantState(t, s, s.Base, storage.Recorded); i.Record.UUID != before.UUID {
		t.Errorf("recorded %v, the marker has %v", i.Record.UUID, before.UUID)
	}
}

// TestNotAdopted: pool and database do not agree, so that the pool is another's,
// or the database older.
func TestNotAdopted(t *testing.T) {
	objects := roletest.Objects(7, 5, 50)
	for what, test := range map[string]struct {
		differ     func(*testing.T, *roletest.Stage) (name string)
		says       string
		initialise bool // a person may
	}{
		"missing": {func(t *testing.T, s *roletest.Stage) string {
			name := packed(t, s)
			expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{}))
			return name
		}, "is the file system mounted?", false},
		"unknown": {func(t *testing.T, s *roletest.Stage) string {
			roletest.Put(t, s.Pool, "unknown", objects)
			return "unknown"
		}, "wineryctl pool init files", true},
		"unpacked": {func(t *testing.T, s *roletest.Stage) string {
			claim, err := s.Base.CreateShard(t.Context(), s.Config.Name)
			expect.NoError(t, err)
			roletest.Put(t, s.Pool, claim.Name(), objects)
			return claim.Name()
		}, "wineryctl index reconcile", true},
	} {
		t.Run(what, func(t *testing.T) {
			s := roletest.New(t, roletest.Directory(t, ""))
			name := test.differ(t, s)
			_, err := owned(s, s.Base).List(t.Context())
			wantRefused(t, "List", err, test.says, name)
			wantState(t, s, s.Base, storage.New)
			if _, _, err := storage.Init(t.Context(), s.Base, s.Pool); (err == nil) != test.initialise {
				t.Errorf("initialised: %v", err)
			}
		})
	}
}

// uses are all that a pool does, each tidying up after a success.
func uses(p pool.Pool, name string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Create": func(ctx context.Context) error {
			d, err := p.Create(ctx, "fresh", 0, pooltest.Anything{})
			if err == nil {
				err = d.Abort(ctx)
			}
			return err
		},
		"Open": func(ctx context.Context) error { return closed(p.Open(ctx, name)) },
		"Edit": func(ctx context.Context) error {
			e, err := p.Edit(ctx, name, pooltest.Anything{})
			if err == nil {
				err = e.Close()
			}
			return err
		},
		"Reserve": func(ctx context.Context) error { return p.Reserve(ctx, name) },
		"Remove":  func(ctx context.Context) error { return p.Remove(ctx, "absent", pooltest.Anything{}) },
		"List":    func(ctx context.Context) error { _, err := p.List(ctx); return err },
		"Space":   func(ctx context.Context) error { _, err := p.Space(ctx); return err },
		"Mapped":  func(ctx context.Context) error { _, err := p.Mapped(ctx); return err },
		"Map":     func(ctx context.Context) error { return p.Map(ctx, name) },
		"OpenMapped": func(ctx context.Context) error {
			return closed(p.OpenMapped(ctx, name))
		},
	}
}

func closed(img pool.Image, err error) error {
	if err == nil {
		err = img.Close()
	}
	return err
}

// TestCopiedDatabase: of a database and its copy, on one pool, the copy's roles
// are refused, until a person says that the pool is the copy's; then the original's are.
func TestCopiedDatabase(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		name := packed(t, s)
		_, err := owned(s, s.Base).List(t.Context())
		expect.NoError(t, err)
		copied := another(t, pgtest.Copy(t, s.DSN))
		s.Base = another(t, s.DSN) // whose connections were terminated
		original, staging := owned(s, s.Base), owned(s, copied)
		refuse := func(p pool.Pool) {
			t.Helper()
			for what, use := range uses(p, name) {
				wantRefused(t, what, use(t.Context()), "the pool belongs to database", "wineryctl pool adopt "+s.Config.Name)
			}
			if _, _, err := storage.Init(t.Context(), copied, s.Pool); err != nil {
				wantRefused(t, "List", err, "wineryctl pool adopt")
			}
		}
		refuse(staging)
		_, err = original.List(t.Context())
		expect.NoError(t, err)
		before := marked(t, s).UUID
		_, err = storage.Adopt(t.Context(), copied, s.Pool, false)
		expect.NoError(t, err)
		if got := marked(t, s).UUID; got != before {
			t.Errorf("the pool's UUID is %v, was %v", got, before)
		}
		_, err = staging.List(t.Context())
		expect.NoError(t, err)
		_, err = original.List(t.Context()) // which remembered the old marker
		wantRefused(t, "List", err)
		refuse(original)
	})
}

// TestUnmounted: a role at work notices that the pool's file system is gone, before
// an image is begun and before it is committed.
func TestUnmounted(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s)
	p := owned(s, s.Base)
	for what, use := range uses(p, name) {
		if err := use(t.Context()); err != nil && !errors.Is(err, pool.ErrNotFound) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	draft, err := p.Create(t.Context(), "drafted", 0, pooltest.Anything{})
	expect.NoError(t, err)
	mounted := filepath.Join(s.Config.BaseDirectory, "files")
	expect.NoError(t, os.Rename(mounted, mounted+".elsewhere"))
	for _, below := range []bool{false, true} { // what the mount point has: nothing, or an empty folder
		if below {
			expect.NoError(t, os.Mkdir(mounted, 0o755))
		}
		wantRefused(t, "Commit", draft.Commit(t.Context()), "is the file system mounted?")
		for what, use := range uses(p, name) {
			wantRefused(t, what, use(t.Context()), "is the file system mounted?", mounted)
		}
		if _, _, err := storage.Init(t.Context(), s.Base, s.Pool); err == nil {
			t.Error("the mount point was initialised")
		}
	}
	if left, err := os.ReadDir(mounted); err != nil || len(left) != 0 {
		t.Errorf("the mount point has %v, %v", left, err)
	}
	expect.NoError(t, os.Remove(mounted))
	expect.NoError(t, os.Rename(mounted+".elsewhere", mounted))
	expect.NoError(t, draft.Commit(t.Context()))
	expect.NoError(t, uses(p, name)["Open"](t.Context()))
}

// TestMarkerLost: a pool whose marker was removed is initialised again, with the
// UUID that the database recorded; and so is a pool whose marker was never
// created.
func TestMarkerLost(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	packed(t, s)
	_, err := owned(s, s.Base).List(t.Context())
	expect.NoError(t, err)
	before := marked(t, s)
	expect.NoError(t, os.RemoveAll(filepath.Join(s.Config.BaseDirectory, "files", ".winery")))
	_, err = owned(s, s.Base).List(t.Context())
	wantRefused(t, "List", err, `wineryctl pool init files`)
	done, _, err := storage.Init(t.Context(), s.Base, s.Pool)
	expect.NoError(t, err)
	if !done || marked(t, s) != before {
		t.Errorf("done: %v; the marker is %v, was %v", done, marked(t, s), before)
	}
	if done, _, err := storage.Init(t.Context(), s.Base, s.Pool); err != nil || done {
		t.Errorf("again: %v, %v", done, err)
	}
}

// TestOtherPool: another pool of the same database is mounted in the place of one.
func TestOtherPool(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	p := owned(s, s.Base)
	_, err := p.List(t.Context())
	expect.NoError(t, err)
	other := marked(t, s)
	other.UUID = uuid.New()
	text, err := json.Marshal(other)
	expect.NoError(t, err)
	expect.NoError(t, s.Pool.SetMarker(t.Context(), text, true))
	_, err = p.List(t.Context())
	wantRefused(t, "List", err, "is another file system mounted?", other.UUID.String())
	expect.NoError(t, s.Pool.SetMarker(t.Context(), []byte("nonsense"), true))
	_, err = p.List(t.Context())
	wantRefused(t, "List", err, "the pool's marker cannot be read")
	expect.NoError(t, os.Truncate(filepath.Join(s.Config.BaseDirectory, "files", ".winery", "marker"), 0)) // as a power cut may leave it
	_, err = p.List(t.Context())
	wantRefused(t, "List", err, "the pool's marker cannot be read")
	_, err = storage.Adopt(t.Context(), s.Base, s.Pool, false)
	expect.NoError(t, err)
	_, err = p.List(t.Context())
	expect.NoError(t, err)
}

// TestAdoptRefusesAnotherPool: the file system of another fleet is mounted in the place of
// the pool, or an older copy of the pool. It stays as it is, until a person insists.
func TestAdoptRefusesAnotherPool(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s)
	_, err := owned(s, s.Base).List(t.Context())
	expect.NoError(t, err)
	own := marked(t, s)
	others := own
	others.UUID = uuid.New()
	others.Database.OID++
	text, err := json.Marshal(others)
	expect.NoError(t, err)
	expect.NoError(t, s.Pool.SetMarker(t.Context(), text, true))
	adopt := func(insist bool) ([]string, error) {
		d, err := storage.Adopt(t.Context(), s.Base, s.Pool, insist)
		return d.Missing, err
	}
	_, err = adopt(false)
	wantRefused(t, "another UUID", err, others.UUID.String(), own.UUID.String(), "--replace-identity")
	if got := marked(t, s); got != others {
		t.Errorf("the marker is %v, was %v", got, others)
	}
	_, err = adopt(true)
	expect.NoError(t, err)
	if i := wantState(t, s, s.Base, storage.Recorded); i.Marker.UUID != others.UUID {
		t.Errorf("adopted with UUID %v, want %v", i.Marker.UUID, others.UUID)
	}

	others.Database = own.Database
	others.Database.OID++
	text, err = json.Marshal(others)
	expect.NoError(t, err)
	expect.NoError(t, s.Pool.SetMarker(t.Context(), text, true))
	expect.NoError(t, s.Pool.Remove(t.Context(), name, pooltest.Anything{}))
	_, err = adopt(false)
	wantRefused(t, "an image is missing", err, "lacks 1 images", name, "--replace-identity")
	if got := marked(t, s); got != others {
		t.Errorf("the marker is %v, was %v", got, others)
	}
	missing, err := adopt(true)
	expect.NoError(t, err)
	if len(missing) != 1 || missing[0] != name {
		t.Errorf("missing: %v, want %s", missing, name)
	}
	wantState(t, s, s.Base, storage.Recorded)
}

// TestCommandAdoptsNothing: a command uses a pool that is not adopted yet, and
// does not adopt it.
func TestCommandAdoptsNothing(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	_, err := s.Pools.Checked(s.Base)[s.Config.Name].List(t.Context())
	expect.NoError(t, err)
	wantState(t, s, s.Base, storage.New)
}

// TestPythonSeesNoMarker: Python Winery takes neither marker nor its folder for an image.
func TestPythonSeesNoMarker(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	name := packed(t, s)
	_, err := owned(s, s.Base).List(t.Context())
	expect.NoError(t, err)
	list := `
import sys
from pathlib import Path
from swh.objstorage.backends.winery.pools import FileBackedPool
pool = FileBackedPool(Path(sys.argv[1]), "files", 1000)
pool.image_unmap_all()
print(*pool.image_list())`
	out, err := exec.CommandContext(t.Context(), os.Getenv("WINERY_PYTHON"), "-c", list, s.Config.BaseDirectory).CombinedOutput()
	if err != nil {
		t.Fatalf("Python (WINERY_PYTHON, which make test sets): %v\n%s", err, out)
	}
	if got := strings.TrimSpace(string(out)); got != name {
		t.Errorf("Python lists %q, want %q", got, name)
	}
	_, err = owned(s, s.Base).List(t.Context())
	expect.NoError(t, err)
}
