// SPDX-License-Identifier: GPL-3.0-or-later

package scrub_test

import (
	"context"
	"encoding/binary"
	"os/exec"
	"strings"
	"testing"

	"winery/internal/cleaner"
	"winery/internal/packer"
	"winery/internal/scrub"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestMain: a process to be killed repairs every shard.
func TestMain(m *testing.M) {
	roletest.Main(m, map[string]roletest.Role{"repair": func(s *roletest.Stage) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			shards, err := s.Base.ListShards(ctx, sharedbase.ShardFilter{})
			for _, sh := range shards {
				if _, err := scrubber(s).Repair(ctx, sh.Name, false); err != nil {
					return false, err
				}
			}
			return true, err
		}
	}})
}

func scrubber(s *roletest.Stage) *scrub.Scrubber {
	return &scrub.Scrubber{Base: s.Base, Pools: s.Pools}
}

// packed makes a shard with its image and its table.
func packed(t testing.TB, s *roletest.Stage, objects []sharedbase.Object) (name string) {
	t.Helper()
	name = s.Full(t, objects)
	_, err := packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step(t.Context())
	expect.NoError(t, err)
	s.WantState(t, name, sharedbase.StatePacked)
	return name
}

// readonly makes a shard that is its image alone.
func readonly(t testing.TB, s *roletest.Stage, objects []sharedbase.Object) (name string) {
	t.Helper()
	name = packed(t, s, objects)
	clean(t, s)
	s.WantState(t, name, sharedbase.StateReadOnly)
	return name
}

func clean(t testing.TB, s *roletest.Stage) {
	t.Helper()
	_, err := roletest.Clean(cleaner.New(cleaner.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}))(t.Context())
	expect.NoError(t, err)
}

// another adds a pool to a stage, and copies an image into it as it is.
func another(t testing.TB, s *roletest.Stage, image string) pool.Pool {
	t.Helper()
	c := roletest.Directory(t, "")
	if s.Pool.Format().Name() == "Mosaic" {
		c = roletest.Mosaic(t)
	}
	c.Name = "other"
	set := roletest.OpenPools(t, true, c)
	s.Pools["other"] = set["other"]
	if image != "" {
		from, err := s.Pool.Pool.Open(t.Context(), image)
		expect.NoError(t, err)
		defer from.Close()
		all := make([]byte, s.Image(t, image).Info().Size)
		_, err = from.ReadAt(all, 0)
		expect.NoError(t, err)
		draft, err := set["other"].Create(t.Context(), image, 0, pooltest.Anything{})
		expect.NoError(t, err)
		_, err = draft.WriteAt(all, 0)
		expect.NoError(t, err)
		expect.NoError(t, draft.Commit(t.Context()))
	}
	return set["other"]
}

// psql changes the database outside of Winery.
func psql(t testing.TB, s *roletest.Stage, statement string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", s.DSN, "-c", statement).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", statement, err, out)
	}
	return strings.TrimSpace(string(out))
}

// at returns where an object's index entry and its length lie in an image, or its
// element.
func at(t testing.TB, s *roletest.Stage, name string, id sharedbase.ObjID) (entry, position int64) {
	t.Helper()
	img, err := s.Pool.Pool.Open(t.Context(), name)
	expect.NoError(t, err)
	defer img.Close()
	entry, end := s.Image(t, name).EntryRange(id)
	at := entry + 32
	if s.Pool.Format().Name() == "Mosaic" {
		at = entry + 36
	}
	b := make([]byte, 8)
	_, err = img.ReadAt(b[8-(end-at):], at)
	expect.NoError(t, err)
	return entry, int64(binary.BigEndian.Uint64(b))
}

// finding is what a test expects of one.
type finding struct {
	kind   scrub.Kind
	object sharedbase.ObjID
}

// wantFindings fails the test unless these and no others were found.
func wantFindings(t testing.TB, r scrub.Report, want ...finding) {
	t.Helper()
	got := map[finding]int{}
	for _, f := range r.Findings {
		got[finding{f.Kind, sharedbase.ObjID(f.Object)}]++
	}
	for _, f := range want {
		got[f]--
	}
	for _, n := range got {
		if n != 0 {
			t.Fatalf("found %+v, want %x", r.Findings, want)
		}
	}
}

// finds scrubs a shard.
func finds(t testing.TB, s *roletest.Stage, name string, want ...finding) {
	t.Helper()
	r, err := scrubber(s).Scrub(t.Context(), name)
	expect.NoError(t, err)
	wantFindings(t, r, want...)
}
