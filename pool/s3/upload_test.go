// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"winery/pool"
	"winery/pool/pooltest"
	"winery/test/expect"
	"winery/test/s3test"
)

// TestManyParts: an image of several parts, whose Commit and Edit report progress: for
// each part, and for each piece that is read back.
func TestManyParts(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		var progress atomic.Int32
		ctx := pool.WithProgress(t.Context(), func() { progress.Add(1) })
		want := content(1, 40<<20+5)
		expect.NoError(t, written(t, s.pool, "one", want).Commit(ctx))
		if n := progress.Swap(0); n < 3+11 {
			t.Errorf("Commit reported %d times", n)
		}
		e, err := s.pool.Edit(ctx, "one", pooltest.Anything{})
		expect.NoError(t, err)
		_, err = e.WriteAt(want[:1], 0) // copies the image
		expect.NoError(t, errors.Join(err, e.Close()))
		if n := progress.Load(); n < 11 {
			t.Errorf("WriteAt reported %d times", n)
		}
		wantContent(t, s.pool, "one", want)
		s.wantClean("shards/one")
	})
}

// TestKeepsTheLimit: an upload waits before each piece that is sent, and each that is read
// back; and so does an edit, which also reads the image to copy it, and again to compare the
// copy.
func TestKeepsTheLimit(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		want := content(1, 20<<20+5)
		var moved, largest atomic.Int64
		expect.NoError(t, written(t, s.pool, "one", want).Commit(pool.WithLimit(t.Context(), func(_ context.Context, bytes int64) error {
			moved.Add(bytes)
			for was := largest.Load(); bytes > was && !largest.CompareAndSwap(was, bytes); was = largest.Load() {
			}
			return nil
		})))
		if moved.Load() != 2*int64(len(want)) || largest.Load() > 4<<20 {
			t.Errorf("waited for %d bytes, up to %d at once, want %d", moved.Load(), largest.Load(), 2*len(want))
		}
		moved.Store(0)
		ctx := pool.WithLimit(t.Context(), func(_ context.Context, bytes int64) error { moved.Add(bytes); return nil })
		e, err := s.pool.Edit(ctx, "one", pooltest.Anything{})
		expect.NoError(t, err)
		_, err = e.WriteAt(want[:1], 0)
		expect.NoError(t, errors.Join(err, e.Commit(ctx), e.Close()))
		if moved.Load() != 4*int64(len(want)) {
			t.Errorf("the edit waited for %d bytes, want %d", moved.Load(), 4*len(want))
		}
		enough := errors.New("no more")
		d := written(t, s.pool, "two", want)
		if err := d.Commit(pool.WithLimit(t.Context(), func(context.Context, int64) error { return enough })); !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
		expect.NoError(t, d.Abort(t.Context()))
		s.wantClean("shards/one")
	})
}

// TestWrongBytes: what the store returns with other bytes is uploaded again; if that
// does not help it is an error, and no such image is left.
func TestWrongBytes(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		want := content(1, 100_000)
		s.trouble.Answers(corrupt(1))
		finished(t, s.pool, "one", want)
		s.trouble.Answers(nil)
		wantContent(t, s.pool, "one", want)

		s.trouble.Answers(corrupt(always))
		d := written(t, s.pool, "two", want)
		err := d.Commit(t.Context())
		wantSays(t, "Commit", err, "other bytes than were uploaded")
		expect.NoError(t, d.Abort(t.Context()))
		s.wantClean("shards/one")
	})
}

// TestLostAnswer: the answer to the completion of an upload is lost. The image is
// there, and Commit knows it, whatever the repeated request is told.
func TestLostAnswer(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		finished(t, s.pool, "first", content(1, 10))                        // tries conditions
		for _, want := range [][]byte{content(1, 1000), content(2, 2000)} { // new, and a replacement
			var lost atomic.Bool
			s.trouble.Answers(func(answer *http.Response) error {
				if isOf(answer.Request, "POST /", "uploadId=") && lost.CompareAndSwap(false, true) {
					return errors.New("lost")
				}
				return nil
			})
			finished(t, s.pool, "one", want)
			if !lost.Load() {
				t.Error("no answer was lost")
			}
			wantContent(t, s.pool, "one", want)
		}
		s.wantClean("shards/first", "shards/one")
	})
}

// TestLostPart: a store that loses a part of an upload that it has confirmed makes no
// image of the rest.
func TestLostPart(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, nil)
		finished(t, s.pool, "first", content(1, 10)) // tries conditions
		d := written(t, s.pool, "one", content(1, 40<<20))
		s.trouble.Requests(func(w http.ResponseWriter, r *http.Request) bool {
			if !isOf(r, "PUT /", "partNumber=2") {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
			return true
		})
		if err := d.Commit(t.Context()); err == nil {
			t.Error("Commit of an image that has lost a part")
		}
		expect.NoError(t, d.Abort(t.Context()))
		s.wantClean("shards/first")
	})
}

// TestHungUpload: a store that takes a part and never answers.
func TestHungUpload(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	finished(t, s.pool, "one", content(1, 10)) // tries conditions
	impatient(&s.settings)
	p := newPool(t, s.settings)
	d := written(t, p, "one", content(1, 1<<20))
	release := make(chan struct{})
	s.trouble.Requests(func(_ http.ResponseWriter, r *http.Request) bool {
		if isOf(r, "PUT /", "shards/one?") {
			<-release
			panic(http.ErrAbortHandler)
		}
		return false
	})
	wantErr(t, "Commit", d.Commit(t.Context()), pool.ErrUnavailable)
	close(release)
	expect.NoError(t, d.Abort(t.Context()))
	s.wantClean("shards/one")
}

// TestQuota: a bucket at its quota is ErrFull, and takes images again after the quota
// was raised.
func TestQuota(t *testing.T) {
	s := on(t, s3test.Radosgw(t), nil)
	finished(t, s.pool, "one", content(1, 1000))
	s.server.Quota(t, s.bucket, 1<<20)
	d := written(t, s.pool, "two", content(1, 4<<20))
	wantErr(t, "Commit", d.Commit(t.Context()), pool.ErrFull, "raise the quota")
	expect.NoError(t, d.Abort(t.Context()))
	s.wantClean("shards/one")
	s.server.Quota(t, s.bucket, 1<<30)
	finished(t, s.pool, "two", content(1, 4<<20))
}

// TestRoom: tmp_directory has no room, or does not exist.
func TestRoom(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	_, err := s.pool.Create(t.Context(), "one", 1<<60, pooltest.Anything{})
	wantErr(t, "Create", err, pool.ErrFull, "tmp_directory "+s.settings.TmpDirectory)
	missing := s.settings
	missing.TmpDirectory = filepath.Join(t.TempDir(), "missing")
	p := newPool(t, missing)
	_, err = p.Create(t.Context(), "one", 0, pooltest.Anything{})
	wantErr(t, "Create", err, os.ErrNotExist)
	wantDenied(t, "CheckAccess", p.CheckAccess(t.Context(), true), "tmp_directory", "ReadWritePaths")
	if _, err := os.Stat(missing.TmpDirectory); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("tmp_directory was made: %v", err)
	}
}
