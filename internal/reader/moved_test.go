// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"winery/internal/reader"
	"winery/pool"
	"winery/pool/directory"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
)

// anotherPool adds a directory pool to the options.
func (f *fixture) anotherPool(o *reader.Options, name string) pool.Pool {
	f.Helper()
	p, err := directory.New(directory.Settings{Format: shard.Format{}, BaseDirectory: f.TempDir(), PoolName: name, UsePermissions: true})
	f.must(err)
	f.must(p.Init(f.Context()))
	o.Pools[name] = p
	return p
}

// move copies an image to another pool, which becomes the shard's. The image
// stays where it was, too.
func (f *fixture) move(name string, to pool.Pool) {
	f.Helper()
	f.copyImage(name, to)
	f.must(f.base.WithImage(f.Context(), name, func(ctx context.Context, c *sharedbase.ImageClaim) error {
		return c.MoveShard(ctx, to.Name(), nil)
	}))
}

func (f *fixture) copyImage(name string, to pool.Pool) {
	f.Helper()
	src, err := f.pool.Open(f.Context(), name)
	f.must(err)
	content := make([]byte, src.Size())
	_, err = src.ReadAt(content, 0)
	f.must(errors.Join(err, src.Close()))
	d, err := to.Create(f.Context(), name, src.Size(), pooltest.Anything{})
	f.must(err)
	_, err = d.WriteAt(content, 0)
	f.must(errors.Join(err, d.Commit(f.Context())))
}

// TestMovedShard: until this host has mapped the image in the shard's new pool,
// the one in its old pool is read.
func TestMovedShard(t *testing.T) {
	f := newFixture(t)
	o := f.options(10)
	other := f.anotherPool(&o, "others")
	moved := append(objects(20, "moved"), object(""))
	name := f.readOnly(moved...)
	f.move(name, other)
	f.must(other.Unmap(t.Context(), name))
	r := f.readerWith(o)
	sameBatch(t, r, moved)
	if len(f.logs.Lines("object read from the image of another pool")) == 0 {
		t.Error("the log does not say so")
	}

	f.overwrite(name, "moved 7", "MOVED 7")
	if content, err := r.Get(t.Context(), moved[7].ID, nil); !errors.Is(err, pool.ErrNotMapped) {
		t.Errorf("not mapped, and damaged elsewhere: %q, %v", content, err)
	}
}

// TestMovedToUnknownPool: the shard's new pool is not configured on this host.
func TestMovedToUnknownPool(t *testing.T) {
	f := newFixture(t)
	o := f.options(10)
	moved := objects(20, "moved")
	f.move(f.readOnly(moved...), f.anotherPool(&o, "others"))
	sameBatch(t, f.reader(10), moved)
}

// TestImporting: an import by Python commits the index before the shard is
// READONLY.
func TestImporting(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	all := objects(20, "imported")
	name := f.readOnly(all...)
	f.exec("UPDATE shards SET state = 'importing'")
	f.must(f.pool.Unmap(t.Context(), name))
	if _, err := r.Get(t.Context(), all[0].ID, nil); !errors.Is(err, pool.ErrNotMapped) {
		t.Errorf("not mapped: %v", err)
	}
	f.must(f.pool.Map(t.Context(), name))
	sameBatch(t, r, all)
}

// TestRepairedImage: an image that was open before it was replaced by a whole
// one is opened again before an object of it counts as lost.
func TestRepairedImage(t *testing.T) {
	const text = "an object to be damaged"
	for what, damage := range map[string]func(*fixture, string, sharedbase.Object){
		"changed": func(f *fixture, name string, _ sharedbase.Object) { f.overwrite(name, text, "an Object to be damaged") },
		"missing": func(f *fixture, name string, o sharedbase.Object) { f.erase(name, o.ID) },
	} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			r := f.reader(10)
			lost, other := object(text), object("another")
			name := f.readOnly(lost, other)
			o := f.options(1)
			backup := f.anotherPool(&o, "backup")
			f.copyImage(name, backup)
			damage(f, name, lost)
			sameBatch(t, r, []sharedbase.Object{other}) // the damaged image is open

			src, err := backup.Open(t.Context(), name)
			f.must(err)
			content := make([]byte, src.Size())
			_, err = src.ReadAt(content, 0)
			f.must(errors.Join(err, src.Close()))
			f.must(f.pool.Remove(t.Context(), name, pooltest.Anything{}))
			d, err := f.pool.Create(t.Context(), name, 0, pooltest.Anything{})
			f.must(err)
			_, err = d.WriteAt(content, 0)
			f.must(errors.Join(err, d.Commit(t.Context())))
			if got, err := r.Get(t.Context(), lost.ID, nil); err != nil || !bytes.Equal(got, lost.Content) {
				t.Errorf("the image was repaired: %q, %v", got, err)
			}
		})
	}
}
