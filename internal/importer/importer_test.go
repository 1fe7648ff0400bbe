// SPDX-License-Identifier: GPL-3.0-or-later

package importer_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"winery/format"
	"winery/internal/importer"
	"winery/internal/progress"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
	"winery/test/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(s3test.Tests{M: m}) }

// find returns the names of what can be imported.
func find(t testing.TB, s *roletest.Stage, pools ...pool.Pool) (names []string, refused []error) {
	t.Helper()
	images, err := importer.Find(t.Context(), s.Base, pools)
	expect.NoError(t, err)
	for _, image := range images {
		names = append(names, image.Pool.Name()+"/"+image.Name)
		refused = append(refused, image.Err)
	}
	return names, refused
}

func wantObjectsIn(t testing.TB, s *roletest.Stage, name string, objects []sharedbase.Object) {
	t.Helper()
	ids := make([]sharedbase.ObjID, len(objects))
	for i, o := range objects {
		ids[i] = o.ID
	}
	at, err := s.Base.Locate(t.Context(), ids)
	expect.NoError(t, err)
	for i := range at {
		if at[i].Shard != name || at[i].State != sharedbase.StateReadOnly || at[i].Pool != s.Pool.Name() {
			t.Fatalf("object %x is in %+v, want it in %s", ids[i], at[i], name)
		}
	}
}

// wantRecord fails the test unless the database has the record of an image of objects.
func wantRecord(t testing.TB, s *roletest.Stage, name string, objects []sharedbase.Object) {
	t.Helper()
	want := sharedbase.ImageRecord{Objects: int64(len(objects)), Fingerprint: s.Image(t, name).Fingerprint()}
	for _, o := range objects {
		want.Bytes += int64(len(o.Content))
	}
	got, found, err := s.Base.ImageRecord(t.Context(), s.Shard(t, name).ID)
	expect.NoError(t, err)
	if !found || got != want {
		t.Errorf("image %s: found %v, %+v, want %+v", name, found, got, want)
	}
}

// TestImportedIsNotRead: an image whose shard is there is not read.
func TestImportedIsNotRead(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	roletest.Put(t, s.Pool, "first", roletest.Objects(1, 20, 1000))
	i := &importer.Importer{Base: s.Base}
	_, err := i.Import(t.Context(), s.Pool, "first")
	expect.NoError(t, err)
	s.Pool.At = func(point roletest.Point, _ string) error {
		if point == roletest.Open {
			t.Error("it was opened")
		}
		return nil
	}
	if _, err := i.Import(t.Context(), s.Pool, "first"); !errors.Is(err, sharedbase.ErrExists) {
		t.Error(err)
	}
}

func TestImport(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		first, second := roletest.Objects(1, 2000, 1000), roletest.Objects(2, 50, 1000)
		roletest.Put(t, s.Pool, "first", first)
		roletest.Put(t, s.Pool, "second", append(first[:3:3], second[1:]...)) // each has the empty object
		packing := s.Full(t, roletest.Objects(3, 3, 10))
		roletest.Put(t, s.Pool, packing, first[:1])
		if names, _ := find(t, s, s.Pool); len(names) != 2 || !strings.HasSuffix(names[0], "/first") || !strings.HasSuffix(names[1], "/second") {
			t.Fatalf("found %v", names)
		}
		var last progress.Report
		i := &importer.Importer{Base: s.Base, Progress: func(p progress.Report) { last = p }}
		got, err := i.Import(t.Context(), s.Pool, "first")
		expect.NoError(t, err)
		if got.Objects != 2000 || got.New != 1999 { // a writer has the empty object
			t.Errorf("first: %+v", got)
		}
		if last.Done != last.Total || last.Done < 500_000 {
			t.Errorf("the last report is %+v", last)
		}
		quick := &importer.Importer{Base: s.Base, Quick: true}
		got, err = quick.Import(t.Context(), s.Pool, "second")
		expect.NoError(t, err)
		if got.Objects != 52 || got.New != 49 {
			t.Errorf("second: %+v", got)
		}
		wantRecord(t, s, "first", first)
		wantRecord(t, s, "second", append(first[:3:3], second[1:]...))
		wantObjectsIn(t, s, "first", first[1:])
		wantObjectsIn(t, s, "second", second[1:])
		if names, _ := find(t, s, s.Pool); len(names) != 0 {
			t.Errorf("found again: %v", names)
		}
		if _, err := i.Import(t.Context(), s.Pool, "first"); !errors.Is(err, sharedbase.ErrExists) {
			t.Errorf("imported again: %v", err)
		}
	})
}

// The import of a damaged image leaves nothing behind, for any damage.
func TestDamaged(t *testing.T) {
	roletest.EachStore(t, func(t *testing.T, s *roletest.Stage) {
		const name = "damaged"
		objects := roletest.Objects(1, 200, 1000)
		roletest.Put(t, s.Pool, name, objects)
		image := s.SWHShard(t, name)
		layout := image.Layout()
		entry, _ := image.EntryRange(objects[0].ID)
		i := &importer.Importer{Base: s.Base}
		for what, at := range map[string]int64{
			"content": layout.IndexPosition - 1, "header": 41, "index": entry + 3, "hash": layout.HashPosition + 1,
		} {
			s.FlipBit(t, name, at)
			_, err := i.Import(t.Context(), s.Pool, name)
			if damage := new(format.DamageError); !errors.As(err, &damage) || !strings.Contains(err.Error(), s.Pool.Name()) {
				t.Errorf("%s: error %v", what, err)
			}
			s.FlipBit(t, name, at)
		}
		if names, _ := find(t, s, s.Pool); len(names) != 1 {
			t.Errorf("found %v", names)
		}
		_, err := i.Import(t.Context(), s.Pool, name)
		expect.NoError(t, err)
	})
}

// If two pools have an image of one name, neither is imported: the importer
// cannot know which one is out of use.
func TestTwoCopies(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	config := roletest.Directory(t, "")
	config.Name = "other"
	other := roletest.OpenPools(t, true, config)["other"]
	objects := roletest.Objects(1, 20, 100)
	roletest.Put(t, s.Pool, "both", objects)
	roletest.Put(t, other, "both", objects)
	roletest.Put(t, other, "one", objects)
	names, refused := find(t, s, s.Pool, other)
	if strings.Join(names, " ") != "files/both other/both other/one" || refused[0] == nil || refused[1] == nil || refused[2] != nil ||
		!strings.Contains(refused[0].Error(), "files, other") {
		t.Fatalf("found %v, %v", names, refused)
	}
	if names, refused := find(t, s, s.Pool); len(names) != 1 || refused[0] != nil {
		t.Errorf("of one pool: %v, %v", names, refused)
	}
}

// TestUnfinished: what a packer or a migration left that was interrupted, and a reserved image,
// are told apart from damaged images, and are no copies of a finished one.
func TestUnfinished(t *testing.T) {
	s := roletest.New(t, roletest.RBD(t))
	config := roletest.Directory(t, "")
	config.Name = "other"
	other := roletest.OpenPools(t, true, config)["other"]
	objects := roletest.Objects(1, 20, 1000)
	expect.NoError(t, s.Pool.Reserve(t.Context(), "reserved"))
	draft, err := s.Pool.Create(t.Context(), "half", 0, pooltest.Anything{})
	expect.NoError(t, err)
	defer func() { expect.NoError(t, draft.Abort(t.Context())) }()
	w, err := s.Pool.Format().NewWriter(draft, draft.Size())
	expect.NoError(t, err)
	for _, o := range objects {
		expect.NoError(t, w.Add(o.ID, int64(len(o.Content)), bytes.NewReader(o.Content)))
	}
	expect.NoError(t, w.Close())
	roletest.Put(t, other, "half", objects)

	images, err := importer.Find(t.Context(), s.Base, []pool.Pool{s.Pool, other})
	expect.NoError(t, err)
	if len(images) != 3 {
		t.Fatalf("found %+v", images)
	}
	i := &importer.Importer{Base: s.Base}
	for _, image := range images {
		if image.Pool.Name() == "other" {
			if image.Err != nil {
				t.Errorf("the finished one of two: %v", image.Err)
			}
			continue
		}
		if image.Name == "half" && !errors.Is(image.Err, importer.ErrUnfinished) {
			t.Errorf("the unfinished one of two: %v", image.Err)
		}
		_, imported := i.Import(t.Context(), image.Pool, image.Name)
		_, examined := i.Examine(t.Context(), image.Pool, image.Name)
		if !errors.Is(imported, importer.ErrUnfinished) || !errors.Is(examined, importer.ErrUnfinished) {
			t.Errorf("%s: %v, %v", image.Name, imported, examined)
		}
	}
	got, err := i.Import(t.Context(), other, "half")
	expect.NoError(t, err)
	if got.New != 20 {
		t.Errorf("imported %+v", got)
	}
}

// Python's images, one with an object that was erased.
func TestPythonsImages(t *testing.T) {
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		t.Fatal("WINERY_PYTHON must name a Python interpreter that has swh.shard; `make test` makes one")
	}
	s := roletest.New(t, roletest.Directory(t, ""))
	script := `
import hashlib, os, sys
from swh.shard import Shard, ShardCreator
contents = [b""] + [bytes([i % 256]) * i for i in range(1, 500)]
key = lambda c: hashlib.sha256(c).digest()
with ShardCreator(sys.argv[1], len(contents)) as shard:
    for c in contents: shard.write(key(c), c)
Shard.delete(sys.argv[1], key(contents[7]))
os.chmod(sys.argv[1], 0o400)`
	out, err := exec.CommandContext(t.Context(), python, "-c", script, s.Config.BaseDirectory+"/files/python").CombinedOutput()
	if err != nil {
		t.Fatalf("Python: %v\n%s", err, out)
	}
	got, err := (&importer.Importer{Base: s.Base}).Import(t.Context(), s.Pool, "python")
	expect.NoError(t, err)
	if got.Objects != 499 || got.New != 499 {
		t.Errorf("%+v", got)
	}
	n, err := s.Base.CountObjects(t.Context(), "python")
	if err != nil || n != 499 {
		t.Errorf("the index has %d, %v", n, err)
	}
}
