// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/pool/s3/blockcache"
	"winery/test/expect"
	"winery/test/s3test"
)

// wantRequests fails unless as many requests came as are wanted.
func (s *stage) wantRequests(what string, want int) {
	s.Helper()
	if seen := s.trouble.Seen(); len(seen) != want {
		s.Errorf("%s: %d requests, want %d: %q", what, len(seen), want, seen)
	}
}

// TestRequests: opening an image is one request, reading a part of it is one, and with
// a cache a second read, of this process or of another handle, is none.
func TestRequests(t *testing.T) {
	for _, cached := range []bool{false, true} {
		s := on(t, s3test.Moto(t), func(s *s3.Settings) {
			if cached {
				s.CacheDirectory, s.CacheSize = t.TempDir(), 10<<20
			}
		})
		want := content(1, 1_000_000)
		finished(t, s.pool, "one", want)
		s.trouble.Seen()
		img, err := s.pool.OpenMapped(t.Context(), "one")
		expect.NoError(t, err)
		s.wantRequests("opening", 1)
		read := func(off, length int) {
			t.Helper()
			got := make([]byte, length)
			if _, err := img.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+length]) {
				t.Errorf("cached %v: %d bytes at %d: %v", cached, length, off, err)
			}
		}
		read(100_000, 5000)
		s.wantRequests("an object", 1)
		read(3*blockcache.BlockSize-10, 3*blockcache.BlockSize)
		s.wantRequests("an object in several blocks", 1)
		read(100_000, 5000)
		read(3*blockcache.BlockSize-10, 3*blockcache.BlockSize)
		if cached {
			s.wantRequests("what is cached", 0)
		} else {
			s.wantRequests("the same again", 2)
		}
		expect.NoError(t, img.Close())
		img, err = s.pool.OpenMapped(t.Context(), "one")
		expect.NoError(t, err)
		s.trouble.Seen()
		read(100_000, 5000)
		if cached {
			s.wantRequests("another handle", 0)
		}
		expect.NoError(t, s.pool.Unmap(t.Context(), "one"))
		s.trouble.Seen()
		read(100_000, 5000)
		s.wantRequests("after Unmap", 1)
		expect.NoError(t, img.Close())
	}
}

// TestErasureIsNotCached: an image that was opened after an erasure returns nothing
// that was erased, whatever is cached.
func TestErasureIsNotCached(t *testing.T) {
	s := on(t, s3test.Moto(t), func(s *s3.Settings) { s.CacheDirectory, s.CacheSize = t.TempDir(), 10<<20 })
	want := content(1, 100_000)
	finished(t, s.pool, "one", want)
	read := func() {
		t.Helper()
		img, err := s.pool.OpenMapped(t.Context(), "one")
		expect.NoError(t, err)
		got := make([]byte, len(want))
		if _, err := img.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("other bytes: %v", err)
		}
		expect.NoError(t, img.Close())
	}
	read()
	e, err := s.pool.Edit(t.Context(), "one", pooltest.Anything{})
	expect.NoError(t, err)
	_, err = e.WriteAt(make([]byte, 100), 50_000)
	clear(want[50_000:50_100])
	expect.NoError(t, err)
	expect.NoError(t, e.Commit(t.Context()))
	expect.NoError(t, e.Close())
	read()
}

// TestWrongAnswerIsCached: a wrong answer of the store stays in the cache until the image
// is opened without the cache, and no longer.
func TestWrongAnswerIsCached(t *testing.T) {
	s := on(t, s3test.Moto(t), func(s *s3.Settings) { s.CacheDirectory, s.CacheSize = t.TempDir(), 10<<20 })
	want := content(1, 1_000_000)
	finished(t, s.pool, "one", want)
	s.trouble.Answers(corrupt(1))
	read := func(ctx context.Context) (right bool) {
		t.Helper()
		img, err := s.pool.OpenMapped(ctx, "one")
		expect.NoError(t, err)
		got := make([]byte, blockcache.BlockSize)
		_, err = img.ReadAt(got, 3*blockcache.BlockSize)
		expect.NoError(t, err)
		expect.NoError(t, img.Close())
		return bytes.Equal(got, want[3*blockcache.BlockSize:4*blockcache.BlockSize])
	}
	fetched := read(t.Context())
	if cached := read(t.Context()); fetched || cached {
		t.Fatal("no wrong answer is in the cache, so this test proves nothing")
	}
	if !read(pool.WithoutCache(t.Context())) {
		t.Error("wrong bytes without the cache")
	}
	s.trouble.Seen()
	if !read(t.Context()) {
		t.Error("wrong bytes after the image was read without the cache")
	}
	s.wantRequests("opening, and what is cached again", 1)
}

// TestReadAhead: reading a whole image in sequence takes few requests, however small
// the reads are, and from several places at once; and reading at random takes no more
// than what was asked for.
func TestReadAhead(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	want := content(1, 30<<20+77)
	finished(t, s.pool, "one", want)
	img, err := s.pool.Open(t.Context(), "one")
	expect.NoError(t, err)
	s.trouble.Seen()
	chance := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		off := chance.IntN(len(want) - 10_000)
		got := make([]byte, 10_000)
		if _, err := img.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+10_000]) {
			t.Errorf("at %d: %v", off, err)
		}
	}
	s.wantRequests("reading at random", 10)

	got, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("in sequence: %d bytes, %v", len(got), err)
	}
	if seen := s.trouble.Seen(); len(seen) > 10 {
		t.Errorf("reading 8 chunks in sequence took %d requests", len(seen))
	}
	expect.NoError(t, img.Close())

	img, err = s.pool.Open(t.Context(), "one")
	expect.NoError(t, err)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			from := i * len(want) / 4
			part := want[from : from+len(want)/4]
			got, err := io.ReadAll(io.NewSectionReader(img, int64(from), int64(len(part))))
			if err != nil || !bytes.Equal(got, part) {
				t.Errorf("part %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
	expect.NoError(t, img.Close())
}

// TestCutBody: a body that is reset in the middle is resumed where it ended.
func TestCutBody(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	want := content(1, 3<<20)
	finished(t, s.pool, "one", want)
	var cuts atomic.Int32
	s.trouble.Answers(func(answer *http.Response) error {
		if answer.ContentLength > 1<<20 && cuts.Add(1) <= 3 {
			answer.Body = io.NopCloser(io.MultiReader(io.LimitReader(answer.Body, 500_000), broken{}))
		}
		return nil
	})
	s.trouble.Seen()
	img, err := s.pool.OpenMapped(t.Context(), "one")
	expect.NoError(t, err)
	got := make([]byte, len(want))
	if _, err := img.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read through three cuts: %v", err)
	}
	expect.NoError(t, img.Close())
	if seen := s.trouble.Seen(); len(seen) != 5 {
		t.Errorf("requests: %q, want an opening and 4 reads", seen)
	}
}

// broken is what is left of a body that is cut.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("cut by the test") }

// TestSlowBody: a body that trickles is given up, and the next request gets the rest.
func TestSlowBody(t *testing.T) {
	s := on(t, s3test.Moto(t), impatient)
	want := content(1, 100_000)
	finished(t, s.pool, "one", want)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.trouble.Answers(func(answer *http.Response) error {
		if answer.ContentLength > 1 {
			answer.Body = io.NopCloser(io.MultiReader(io.LimitReader(answer.Body, 50), stuck{release}))
		}
		return nil
	})
	img, err := s.pool.OpenMapped(t.Context(), "one")
	expect.NoError(t, err)
	_, err = img.ReadAt(make([]byte, 1000), 0)
	wantErr(t, "ReadAt", err, pool.ErrUnavailable)
	expect.NoError(t, img.Close())
}

type stuck struct{ release chan struct{} }

func (s stuck) Read([]byte) (int, error) { <-s.release; return 0, io.EOF }
