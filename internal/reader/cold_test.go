// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"winery/internal/hashcache"
	"winery/internal/reader"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
)

// coldReader has a cache of hash functions in a directory.
func (f *fixture) coldReader(cacheSize int, dir string) *reader.Reader {
	o := f.options(cacheSize)
	o.Hashes = hashcache.New(hashcache.Options{Directory: dir, Size: 1 << 30, Log: f.log})
	return f.readerWith(o)
}

// heads returns the files of the cache in a directory.
func heads(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.head"))
	expect.NoError(t, err)
	return files
}

// shardsWith makes shards of a few objects each, in images only, and returns all objects.
func (f *fixture) shardsWith(shards, each int) (all []sharedbase.Object) {
	f.Helper()
	for i := range shards {
		some := objects(each, fmt.Sprint("shard ", i))
		name := fmt.Sprintf("%032x", i)
		f.imageOf(name, some)
		_, err := f.base.ImportShard(f.Context(), name, "shards", sharedbase.ImageRecord{Objects: int64(each)}, keysOf(some))
		f.must(err)
		all = append(all, some...)
	}
	return all
}

func keysOf(objects []sharedbase.Object) iter.Seq2[sharedbase.ObjID, error] {
	return func(yield func(sharedbase.ObjID, error) bool) {
		for _, o := range objects {
			if !yield(o.ID, nil) {
				return
			}
		}
	}
}

// readAll reads objects with a reader that keeps one image open.
func (f *fixture) readAll(t *testing.T, dir string, all []sharedbase.Object) {
	t.Helper()
	r := f.coldReader(1, dir)
	defer r.Close()
	for _, o := range all {
		sameBatch(t, r, []sharedbase.Object{o})
	}
}

// fill reads until the cache has the hash functions of all images: while it writes one
// it leaves out others.
func (f *fixture) fill(t *testing.T, dir string, all []sharedbase.Object, shards int) {
	t.Helper()
	for len(heads(t, dir)) < shards {
		f.readAll(t, dir, all)
	}
}

// imageOf makes an image in place of the one of that name, if there is one.
func (f *fixture) imageOf(name string, objects []sharedbase.Object) {
	f.Helper()
	if err := f.pool.Remove(f.Context(), name, pooltest.Anything{}); !errors.Is(err, pool.ErrNotFound) {
		f.must(err)
	}
	draft, err := f.pool.Create(f.Context(), name, 0, pooltest.Anything{})
	f.must(err)
	w, err := shard.NewWriter(draft, draft.Size())
	f.must(err)
	defer func() { _ = w.Close() }()
	for _, o := range objects {
		f.must(w.Add(o.ID, int64(len(o.Content)), bytes.NewReader(o.Content)))
	}
	_, err = w.Finish()
	f.must(err)
	f.must(draft.Commit(f.Context()))
}

var (
	coldImages  = flag.Int("cold.images", 1000, "the images of TestColdReadsReadTwice")
	coldHandles = flag.Int("cold.handles", 50, "the images that it keeps open")
)

// TestColdReadsReadTwice: many more images than handles. Once the hash functions are
// cached, a get reads an entry and a content, and no hash function. How many bytes of a
// head a lookup reads is tested in format/formattest.
func TestColdReadsReadTwice(t *testing.T) {
	const each, gets = 10, 2000
	f, dir := newFixture(t), t.TempDir()
	all := f.shardsWith(*coldImages, each)
	f.fill(t, dir, every(each, all), *coldImages)
	r := f.coldReader(*coldHandles, dir)
	before, opened := f.pool.reads.Load(), f.pool.opened.Load()
	for range gets {
		sameBatch(t, r, []sharedbase.Object{all[rand.IntN(len(all))]})
	}
	reads := float64(f.pool.reads.Load()-before) / gets
	if t.Logf("%.2f reads of images for each get", reads); reads > 2.2 {
		t.Error("these are more than an entry and a content")
	}
	if opened := f.pool.opened.Load() - opened; opened < gets/2 {
		t.Errorf("only %d of %d gets opened an image", opened, gets)
	}
}

// every returns each nth object.
func every(n int, all []sharedbase.Object) (some []sharedbase.Object) {
	for i := 0; i < len(all); i += n {
		some = append(some, all[i])
	}
	return some
}

// Whatever is in the files of the cache, reads are right, and mend them.
func TestDamagedCache(t *testing.T) {
	f, dir := newFixture(t), t.TempDir()
	all := f.shardsWith(2, 40)
	f.fill(t, dir, all, 2)
	files := heads(t, dir)
	intact := make([][]byte, len(files))
	for i, file := range files {
		var err error
		intact[i], err = os.ReadFile(file)
		expect.NoError(t, err)
	}
	for what, damage := range map[string]func(i int) []byte{
		"of another image": func(i int) []byte { return intact[1-i] },
		"empty":            func(int) []byte { return nil },
		"cut off":          func(i int) []byte { return intact[i][:len(intact[i])/2] },
		"zeros":            func(i int) []byte { return make([]byte, len(intact[i])) },
		"a torn end":       func(i int) []byte { return append(intact[i][:40:40], make([]byte, len(intact[i])-40)...) },
	} {
		t.Run(what, func(t *testing.T) {
			for i, file := range files {
				expect.NoError(t, os.WriteFile(file, damage(i), 0o600))
			}
			r := f.coldReader(10, dir)
			sameBatch(t, r, all) // many at once
			for _, o := range all {
				if size, err := r.Size(t.Context(), o.ID); err != nil || size != int64(len(o.Content)) {
					t.Errorf("size %d instead of %d, %v", size, len(o.Content), err)
				}
			}
			r.Close()
			expect.Eventually(t, "the cache to be mended", func() bool {
				f.readAll(t, dir, all)
				mended := true
				for i, file := range files {
					b, err := os.ReadFile(file)
					mended = mended && err == nil && string(b) == string(intact[i])
				}
				return mended
			})
		})
	}
}

// An image that was made again under its name, with other objects at other places, is
// read right through the hash function of the old one.
func TestImageMadeAgain(t *testing.T) {
	f, dir := newFixture(t), t.TempDir()
	old := objects(30, "from the start")
	name := f.readOnly(old...)
	f.fill(t, dir, old, 1)
	f.imageOf(name, append(objects(20, "before them"), old...))
	r := f.coldReader(10, dir)
	for _, o := range old {
		sameBatch(t, r, []sharedbase.Object{o})
	}
	r.Close()
	f.imageOf(name, old[1:])
	r = f.coldReader(10, dir)
	if _, err := r.Get(t.Context(), old[0].ID, nil); !errors.As(err, new(*reader.CorruptError)) {
		t.Errorf("an object that the new image does not have: %v", err)
	}
	sameBatch(t, r, old[1:])
}

// A directory that cannot be written makes reads no worse.
func TestCacheCannotBeWritten(t *testing.T) {
	f, dir := newFixture(t), filepath.Join(t.TempDir(), "file")
	expect.NoError(t, os.WriteFile(dir, nil, 0o600))
	all := f.shardsWith(3, 5)
	r := f.coldReader(1, dir)
	for _, o := range all {
		sameBatch(t, r, []sharedbase.Object{o})
	}
}
