// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"winery/internal/reader"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
)

// Readers continue while their shard passes through all states, and always get
// the objects.
func TestReadingWhileTheShardMovesOn(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	all := append(objects(200, "moving"), object(""), object(strings.Repeat("large", 1<<20)))
	claim := f.write(all...)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var reads atomic.Int64
	var readers sync.WaitGroup
	for i := range 8 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if i%2 == 0 {
					o := all[rand.IntN(len(all))]
					if content, err := r.Get(t.Context(), o.ID, nil); err != nil || !bytes.Equal(content, o.Content) {
						t.Errorf("Get: %d bytes, %v", len(content), err)
						return
					}
				} else {
					from := rand.IntN(len(all) - 20)
					if !sameBatch(t, r, all[from:from+20]) {
						return
					}
				}
				reads.Add(1)
			}
		})
	}
	enough := func() {
		before := reads.Load()
		expect.Eventually(t, "100 reads", func() bool { return t.Failed() || reads.Load() >= before+100 })
	}
	enough()
	f.pack(claim)
	enough()
	f.clean(claim.Name())
	enough()
	stop()
	readers.Wait()
	if f.pool.opened.Load() == 0 {
		t.Error("the image was never opened")
	}
}

func sameBatch(t *testing.T, r *reader.Reader, want []sharedbase.Object) bool {
	found, err := r.GetBatch(t.Context(), idsOf(want), nil)
	if err != nil {
		t.Errorf("GetBatch: %v", err)
		return false
	}
	for i, o := range want {
		if found[i].Err != nil || found[i].Content == nil || !bytes.Equal(found[i].Content, o.Content) {
			t.Errorf("GetBatch: object %d of %d is another, or %v", i, len(want), found[i].Err)
			return false
		}
	}
	return true
}

func TestMissingObjects(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	there, gone, never := object("there"), object("gone"), object("never")
	f.write(there, gone)
	f.must(f.base.Delete(t.Context(), gone.ID))

	for name, id := range map[string]sharedbase.ObjID{"deleted": gone.ID, "never added": never.ID} {
		if _, err := r.Get(t.Context(), id, nil); !errors.Is(err, reader.ErrNotFound) {
			t.Errorf("%s: Get: %v", name, err)
		}
		if ok, err := r.Contains(t.Context(), id); ok || err != nil {
			t.Errorf("%s: Contains: %v, %v", name, ok, err)
		}
	}
	if ok, err := r.Contains(t.Context(), there.ID); !ok || err != nil {
		t.Errorf("Contains: %v, %v", ok, err)
	}
}

func TestGetBatchOverShards(t *testing.T) {
	f := newFixture(t)
	r := f.reader(1) // fewer than shards
	inTable := append(objects(30, "in a table"), object(""))
	inImage, inOther := objects(300, "in an image"), objects(300, "in another image")
	f.write(inTable...)
	f.readOnly(inImage...)
	f.readOnly(inOther...)

	want := append(append(append([]sharedbase.Object{}, inTable...), inImage...), inOther...)
	rand.Shuffle(len(want), func(i, j int) { want[i], want[j] = want[j], want[i] })
	sameBatch(t, r, want)

	ids := append(idsOf(want[:5]), object("missing").ID, want[0].ID)
	found, err := r.GetBatch(t.Context(), ids, nil)
	f.must(err)
	if !errors.Is(found[5].Err, reader.ErrNotFound) || found[5].Content != nil {
		t.Errorf("a missing object: %q, %v", found[5].Content, found[5].Err)
	}
	if !bytes.Equal(found[6].Content, want[0].Content) {
		t.Errorf("an object that was requested twice is %q", found[6].Content)
	}
	if found, err := r.GetBatch(t.Context(), nil, nil); len(found) != 0 || err != nil {
		t.Errorf("nothing asked: %v, %v", found, err)
	}
}

func TestNotMapped(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	all := objects(100, "not mapped")
	claim := f.write(all...)
	f.pack(claim)
	f.must(f.pool.Unmap(t.Context(), claim.Name()))

	for _, o := range all {
		if content, err := r.Get(t.Context(), o.ID, nil); err != nil || !bytes.Equal(content, o.Content) {
			t.Fatalf("packed, not mapped: %q, %v", content, err)
		}
	}
	if n := f.pool.opened.Load(); n > 20 {
		t.Errorf("the pool was called %d times in 100 reads for an image that is not mapped", n)
	}

	f.clean(claim.Name())
	_, err := r.Get(t.Context(), all[0].ID, nil)
	if !errors.Is(err, pool.ErrNotMapped) || errors.Is(err, reader.ErrNotFound) {
		t.Fatalf("readonly, not mapped: %v", err)
	}
	host, _ := os.Hostname()
	for _, part := range []string{claim.Name(), "readonly", host} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	found, err := r.GetBatch(t.Context(), idsOf(all), nil)
	f.must(err)
	for _, one := range found {
		if !errors.Is(one.Err, pool.ErrNotMapped) {
			t.Errorf("GetBatch: %v", one.Err)
		}
	}

	// Once the image is mapped, it is read at once.
	f.must(f.pool.Map(t.Context(), claim.Name()))
	sameBatch(t, r, all)
}

func TestDeletedAndAddedAgain(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	o, other := object("comes back"), object("stays")
	name := f.readOnly(o, other)
	sameBatch(t, r, []sharedbase.Object{o, other}) // the image is open from here on

	f.must(f.base.Delete(t.Context(), o.ID))
	f.erase(name, o.ID)
	if _, err := r.Get(t.Context(), o.ID, nil); !errors.Is(err, reader.ErrNotFound) {
		t.Errorf("erased: %v", err)
	}
	f.write(o)
	sameBatch(t, r, []sharedbase.Object{o, other})
}

// erase erases an object in an image, without the index being told.
func (f *fixture) erase(name string, ids ...sharedbase.ObjID) {
	f.Helper()
	e, err := f.pool.Edit(f.Context(), name, pooltest.Anything{})
	f.must(err)
	n, err := shard.Format{}.Erase(f.Context(), e, e.Size(), name, 1, ids)
	f.must(err)
	if n != len(ids) {
		f.Fatalf("%d of %d objects erased", n, len(ids))
	}
	f.must(e.Close())
}

// What the index promises and storage does not give is never "not found", and
// never other bytes.
func TestCorrupted(t *testing.T) {
	const was, is = "an object to be damaged", "an Object to be damaged"
	tests := map[string]func(f *fixture, o sharedbase.Object) (shard string){
		"changed in the image": func(f *fixture, o sharedbase.Object) string {
			name := f.readOnly(o)
			f.overwrite(name, was, is)
			return name
		},
		"changed in the table": func(f *fixture, o sharedbase.Object) string {
			o.Content = []byte(is)
			return f.write(o).Name()
		},
		"missing in the image": func(f *fixture, o sharedbase.Object) string {
			name := f.readOnly(o)
			f.erase(name, o.ID)
			return name
		},
		"not an image": func(f *fixture, o sharedbase.Object) string {
			name := f.readOnly(o)
			f.overwrite(name, "SWHShard", "SWHShirt")
			return name
		},
	}
	for what, damage := range tests {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			r := f.reader(10)
			o := object(was)
			name := damage(f, o)
			for range 2 {
				content, err := r.Get(t.Context(), o.ID, nil)
				var corrupt *reader.CorruptError
				if !errors.As(err, &corrupt) || corrupt.ID != o.ID || corrupt.Shard != name {
					t.Fatalf("Get: %q, %v", content, err)
				}
				if errors.Is(err, reader.ErrNotFound) {
					t.Error("it is taken for absent")
				}
			}
			sound := object("sound, in another shard")
			f.write(sound)
			found, err := r.GetBatch(t.Context(), []sharedbase.ObjID{o.ID, sound.ID}, admitAll)
			f.must(err)
			if !errors.As(found[0].Err, new(*reader.CorruptError)) || found[0].Content != nil || !bytes.Equal(found[1].Content, sound.Content) {
				t.Errorf("GetBatch: %v, and then %q, %v", found[0].Err, found[1].Content, found[1].Err)
			}
		})
	}
}

// As long as the table exists, a damaged image loses no object. The log says that it
// is damaged.
func TestDamagedImageWithTable(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	o := object("kept twice")
	claim := f.write(o)
	f.pack(claim)
	f.overwrite(claim.Name(), "kept twice", "kept TWICE")
	sameBatch(t, r, []sharedbase.Object{o})
	if len(f.logs.Lines("object read from the table, because its image cannot be read\" shard="+claim.Name()+" pool=shards")) == 0 {
		t.Errorf("the log has:\n%s", f.logs)
	}
}

func TestPoolThatIsNotConfigured(t *testing.T) {
	f := newFixture(t)
	o := object("elsewhere")
	name := f.readOnly(o)
	r := reader.NewReader(reader.Options{Base: f.base, Log: f.log})
	defer r.Close()
	_, err := r.Get(t.Context(), o.ID, nil)
	if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), `"shards"`) {
		t.Errorf("%v does not name shard and pool", err)
	}
}

func TestDatabaseUnavailable(t *testing.T) {
	base, err := sharedbase.New("postgresql://nobody@127.0.0.1:1/none", "reader test")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	r := reader.NewReader(reader.Options{Base: base, Log: slog.New(slog.DiscardHandler)})
	defer r.Close()
	if _, err := r.Get(t.Context(), sharedbase.ObjID{1}, nil); !errors.Is(err, sharedbase.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Get(ctx, sharedbase.ObjID{1}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
