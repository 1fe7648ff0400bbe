// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"winery/internal/cleaner"
	"winery/internal/importer"
	"winery/internal/ingest"
	"winery/internal/mapper"
	"winery/internal/packer"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/roletest"
)

// objects are those of every case, and large one of a packer's, which needs
// several writes.
var (
	objects = roletest.Objects(1, 60, 3000)
	large   = object(make([]byte, 5<<20))
)

func object(content []byte) sharedbase.Object {
	return sharedbase.Object{ID: sha256.Sum256(content), Content: content}
}

// batches is how many adds store them, in the scenario of a writer.
const batches = 3

func batch(i int) []sharedbase.Object {
	n := len(objects) / batches
	return objects[i*n : (i+1)*n]
}

// scenario is what a role's step begins with.
type scenario struct {
	name       string // of the role
	prepare    func(*testing.T, *roletest.Stage) story
	minMoments int // moments on the way of the role, on each type of pool
}

// story is what becomes of objects.
type story struct {
	stored  []sharedbase.Object // before the step
	deleted []sharedbase.Object // before the step, too
	wanted  []sharedbase.Object // after all
}

var scenarios = []scenario{
	{"writer", none, 26}, {"packer", full, 36}, {"mapper", packed, 9}, {"cleaner", mapped, 23}, {"eraser", deleted, 38}, {"importer", unknown, 12},
}

var roles = map[string]roletest.Role{
	"writer": write,
	"packer": func(s *roletest.Stage) func(context.Context) (bool, error) {
		return packer.New(packer.Options{Base: s.Base, Pools: s.Pools, Log: s.Log}).Step
	},
	"mapper": func(s *roletest.Stage) func(context.Context) (bool, error) {
		return mapper.New(mapper.Options{Base: s.Base, Pools: s.Pools, Host: host, Log: s.Log}).Step
	},
	"cleaner":  clean,
	"eraser":   clean,
	"importer": importImage,
}

// host is the one that all are on.
const host = "here"

func clean(s *roletest.Stage) func(context.Context) (bool, error) {
	return roletest.Clean(cleaner.New(cleaner.Options{Base: s.Base, Pools: s.Pools, MinMappedHosts: 1, Log: s.Log}))
}

// stored is what a writer process reports about an acknowledged batch.
const stored = "stored batch "

// write stores all objects in two shards, fills the first, and gives the
// second back.
func write(s *roletest.Stage) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		w := ingest.New(ingest.Options{Base: s.Base, Pools: s.Pools, Pool: s.Config.Name, ShardMaxSize: 60_000, Log: s.Log})
		w.Start()
		for i := range batches {
			if _, err := w.Add(ctx, batch(i)); err != nil {
				return false, errors.Join(err, w.Close(ctx))
			}
			roletest.Tell(stored + fmt.Sprint(i))
		}
		return true, w.Close(ctx)
	}
}

// acknowledged are the objects of the batches that a writer process has reported
// as stored.
func acknowledged(p *roletest.Process) (kept []sharedbase.Object) {
	for i := range batches {
		if strings.Contains(p.Said(), stored+fmt.Sprint(i)) {
			kept = append(kept, batch(i)...)
		}
	}
	return kept
}

func importImage(s *roletest.Stage) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		if s.Imported == "" {
			return false, nil
		}
		_, err := (&importer.Importer{Base: s.Base}).Import(ctx, s.Pool, s.Imported)
		if errors.Is(err, sharedbase.ErrExists) {
			return false, nil
		}
		return err == nil, err
	}
}

func none(*testing.T, *roletest.Stage) story { return story{wanted: objects} }

func full(t *testing.T, s *roletest.Stage) story {
	all := append(objects[:len(objects):len(objects)], large)
	s.Full(t, all)
	return story{stored: all, wanted: all}
}

// packed leaves the image unmapped, where the pool maps.
func packed(t *testing.T, s *roletest.Stage) story {
	name := s.Full(t, objects)
	step(t, s, "packer")
	expect.NoError(t, s.Pool.Unmap(t.Context(), name))
	return story{stored: objects, wanted: objects}
}

func mapped(t *testing.T, s *roletest.Stage) story {
	story := packed(t, s)
	step(t, s, "mapper")
	return story
}

func deleted(t *testing.T, s *roletest.Stage) story {
	mapped(t, s)
	step(t, s, "cleaner")
	for _, o := range objects[10:12] {
		expect.NoError(t, s.Base.Delete(t.Context(), o.ID))
	}
	kept := slices.Concat(objects[:10], objects[12:])
	return story{stored: kept, deleted: objects[10:12], wanted: kept}
}

// unknown makes an image that the database does not know.
func unknown(t *testing.T, s *roletest.Stage) story {
	id := uuid.New()
	s.Imported = "i" + hex.EncodeToString(id[:])[1:]
	roletest.Put(t, s.Pool, s.Imported, objects)
	return story{wanted: objects}
}

// step takes a role's step in this process.
func step(t *testing.T, s *roletest.Stage, name string) {
	t.Helper()
	if worked, err := roles[name](s)(t.Context()); !worked || err != nil {
		t.Fatalf("%s: %v, %v", name, worked, err)
	}
}
