// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/test/expect"
	"winery/test/s3test"
)

// TestEditors: of two erasers of one version the first to commit wins; the other
// changes nothing, and succeeds with the new version.
func TestEditors(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		want := content(1, 100_000)
		finished(t, s.pool, "one", want)
		edit := func(p *s3.Pool, off int) pool.Editor {
			e, err := p.Edit(t.Context(), "one", pooltest.Anything{})
			expect.NoError(t, err)
			t.Cleanup(func() { _ = e.Close() })
			_, err = e.WriteAt(make([]byte, 10), int64(off))
			expect.NoError(t, err)
			return e
		}
		other := newPool(t, settings(server.Endpoint, s.bucket, t.TempDir()))
		first, second := edit(s.pool, 1000), edit(other, 2000)
		wantContent(t, s.pool, "one", want) // nothing is seen before a Commit
		expect.NoError(t, first.Commit(t.Context()))
		clear(want[1000:1010])
		wantContent(t, s.pool, "one", want)
		wantErr(t, "second Commit", second.Commit(t.Context()), pool.ErrInUse)
		expect.NoError(t, second.Close())
		wantContent(t, s.pool, "one", want)
		again := edit(other, 2000)
		expect.NoError(t, again.Commit(t.Context()))
		clear(want[2000:2010])
		wantContent(t, s.pool, "one", want)
		expect.NoError(t, errors.Join(first.Close(), again.Close()))
		s.wantClean("shards/one")
	})
}

// TestUnchanged: an editor that wrote nothing copies and uploads nothing.
func TestUnchanged(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	finished(t, s.pool, "one", content(1, 100_000))
	e, err := s.pool.Edit(t.Context(), "one", pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.ReadAt(make([]byte, 10), 500)
	expect.NoError(t, err)
	s.trouble.Seen()
	expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
	if seen := s.trouble.Seen(); len(seen) > 0 {
		t.Errorf("requests: %q", seen)
	}
}

// TestReaderDuringErasure: an open image of the old version continues with the new one;
// one that another image has replaced says so.
func TestReaderDuringErasure(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		for _, cached := range []bool{false, true} {
			s := on(t, server, func(s *s3.Settings) {
				if cached {
					s.CacheDirectory, s.CacheSize = t.TempDir(), 10<<20
				}
			})
			want := content(1, 300_000)
			finished(t, s.pool, "one", want)
			mapped, err := s.pool.OpenMapped(t.Context(), "one")
			expect.NoError(t, err)
			stored, err := s.pool.Open(t.Context(), "one")
			expect.NoError(t, err)
			e, err := s.pool.Edit(t.Context(), "one", pooltest.Anything{})
			expect.NoError(t, err)
			_, err = e.WriteAt(make([]byte, 10), 1000)
			expect.NoError(t, err)
			clear(want[1000:1010])
			expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
			for _, img := range []pool.Image{mapped, stored} {
				got := make([]byte, 50_000)
				if _, err := img.ReadAt(got, 0); err != nil || !bytes.Equal(got, want[:50_000]) {
					t.Errorf("cached %v: the reader does not see the new version: %v", cached, err)
				}
			}
			finished(t, s.pool, "one", content(2, 500_000))
			_, err = mapped.ReadAt(make([]byte, 10), 290_000)
			wantErr(t, "reading a replaced image", err, pool.ErrNotFound, "open it again")
			expect.NoError(t, errors.Join(mapped.Close(), stored.Close()))
		}
	})
}

// flip changes a byte of the only file in tmp_directory, as a failing disk does.
func (s *stage) flip(off int64) {
	s.Helper()
	path := filepath.Join(s.settings.TmpDirectory, "shards", s.files()[0])
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	expect.NoError(s, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	expect.NoError(s, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, off)
	expect.NoError(s, errors.Join(err, f.Close()))
}

// TestWrongCopy: an erasure whose local copy is not the image of the store replaces
// nothing, and the next one succeeds.
func TestWrongCopy(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	want := content(1, 20<<20)
	finished(t, s.pool, "one", want)
	for name, erase := range map[string]func(want []byte) pool.Editor{
		"wrong answer": func(want []byte) pool.Editor {
			s.trouble.Answers(corrupt(1))
			defer s.trouble.Answers(nil)
			return s.edited(want)
		},
		"failing disk":           func(want []byte) pool.Editor { e := s.edited(want); s.flip(17 << 20); return e },
		"before what is written": func(want []byte) pool.Editor { e := s.edited(want); s.flip(999); return e },
		"after what is written":  func(want []byte) pool.Editor { e := s.edited(want); s.flip(1010); return e },
	} {
		t.Run(name, func(t *testing.T) {
			e := erase(bytes.Clone(want))
			wantSays(t, "Commit", e.Commit(t.Context()), "one: ", "tmp_directory", "was not uploaded")
			expect.NoError(t, e.Close())
			wantContent(t, s.pool, "one", want)
			s.wantClean("shards/one")
		})
	}
	e := s.edited(want)
	expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
	wantContent(t, s.pool, "one", want)
}

// TestCopyFailsBetweenUploads: the store returns other bytes, and the disk has changed
// the copy when it is uploaded again.
func TestCopyFailsBetweenUploads(t *testing.T) {
	s, want, e := erasing(t, nil)
	damage := corrupt(1)
	var once sync.Once
	s.trouble.Answers(onceCompleted(func(answer *http.Response) error {
		once.Do(func() { s.flip(50_000) })
		return damage(answer)
	}))
	err := e.Commit(t.Context())
	s.trouble.Answers(nil)
	wantSays(t, "Commit", err, "tmp_directory")
	wantContent(t, s.pool, "one", want)
}

// TestManyWrites: an erasure writes, at the same time, ranges that overlap, touch, and
// cross the borders of what is read and uploaded at once.
func TestManyWrites(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	want := content(1, 20<<20)
	finished(t, s.pool, "one", want)
	e := s.edited(want)
	var all sync.WaitGroup
	for _, r := range []extent{{4<<20 - 10, 4<<20 + 10}, {0, 1}, {3 << 20, 9 << 20}, {16<<20 - 1, 16<<20 + 1}, {16<<20 + 1, 17 << 20}, {20<<20 - 1, 20 << 20}, {5 << 20, 6 << 20}, {1000, 1005}} {
		clear(want[r.from:r.to])
		all.Go(func() {
			if _, err := e.WriteAt(make([]byte, r.to-r.from), int64(r.from)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
	wantContent(t, s.pool, "one", want)
}

type extent struct{ from, to int }
