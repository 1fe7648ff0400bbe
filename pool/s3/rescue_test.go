// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"winery/format"
	"winery/pool"
	"winery/pool/pooltest"
	"winery/pool/s3"
	"winery/test/expect"
	"winery/test/s3test"
)

// rescued returns the path of the only file that was kept of image "one", which must have
// this content.
func (s *stage) rescued(want []byte) string {
	s.Helper()
	found, err := filepath.Glob(filepath.Join(s.settings.TmpDirectory, "shards", "one.*.rescued"))
	if err != nil || len(found) != 1 {
		s.Errorf("rescued: %q, tmp_directory has %q: %v", found, s.files(), err)
		return "no file"
	}
	if got, err := os.ReadFile(found[0]); err != nil || !bytes.Equal(got, want) {
		s.Errorf("the rescued file has other bytes: %v", err)
	}
	return found[0]
}

// erasing returns a stage on whose image "one" an erasure has written, and what the image
// has once that is committed.
func erasing(t *testing.T, change func(*s3.Settings)) (s *stage, want []byte, e pool.Editor) {
	t.Helper()
	s, want = on(t, s3test.Moto(t), change), content(1, 100_000)
	finished(t, s.pool, "one", want)
	return s, want, s.edited(want)
}

// TestLostDuringErasure: nothing is heard of the store from the moment on when it has
// completed the upload. The copy is kept until the store is found to have the same.
func TestLostDuringErasure(t *testing.T) {
	s, want, e := erasing(t, impatient)
	s.trouble.Answers(onceCompleted(func(*http.Response) error { return errors.New("lost") }))
	err := e.Commit(t.Context())
	s.trouble.Answers(nil)
	wantErr(t, "Commit", err, pool.ErrUnavailable, s.rescued(want))
	if errors.As(err, new(*format.DamageError)) {
		t.Errorf("Commit: got %v, which says that the image is damaged", err)
	}
	expect.NoError(t, e.Close())
	e = s.edited(want)
	expect.NoError(t, e.Close())
	wantContent(t, s.pool, "one", want)
	s.wantClean("shards/one")
}

// TestRescued: a rescued copy stays, and nothing is erased, while the store has another
// image, in the place of the one that the copy was to replace.
func TestRescued(t *testing.T) {
	s, want, e := erasing(t, nil)
	s.trouble.Answers(onceCompleted(corrupt(always)))
	err := e.Commit(t.Context())
	s.trouble.Answers(nil)
	kept := s.rescued(want)
	wantSays(t, "Commit", errors.Join(err, e.Close()), "other bytes than were uploaded", kept)
	if !errors.As(err, new(*format.DamageError)) {
		t.Errorf("Commit: got %v, want a DamageError, for which the shard is quarantined", err)
	}

	damaged := bytes.Clone(want)
	damaged[5] ^= 1
	s.put(damaged)
	for range 2 {
		_, err = s.pool.Edit(t.Context(), "one", pooltest.Anything{})
		wantSays(t, "Edit", err, kept, "wineryctl verify --shard one", "s3://"+s.bucket+"/shards/one")
		s.rescued(want)
	}
	wantContent(t, s.pool, "one", damaged)

	s.put(want) // as the error says
	e, err = s.pool.Edit(t.Context(), "one", pooltest.Anything{})
	expect.NoError(t, err)
	expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
	s.wantClean("shards/one")
}

// TestSecondUploadFails: the store returns other bytes, and does not take the image again.
// So it has a wrong image, for which the shard is quarantined, whatever failed.
func TestSecondUploadFails(t *testing.T) {
	for code, tt := range map[string]struct {
		status int
		want   error // nil: an AccessError
	}{
		"SlowDown":      {503, pool.ErrUnavailable},
		"QuotaExceeded": {403, pool.ErrFull},
		"NoSuchUpload":  {404, pool.ErrFenced},
		"AccessDenied":  {403, nil},
	} {
		t.Run(code, func(t *testing.T) {
			s, want, e := erasing(t, impatient)
			var completed atomic.Bool
			s.trouble.Answers(onceCompleted(func(answer *http.Response) error {
				completed.Store(true)
				return corrupt(always)(answer)
			}))
			again := refuse("PUT /", "partNumber=", tt.status, code)
			s.trouble.Requests(func(w http.ResponseWriter, r *http.Request) bool { return completed.Load() && again(w, r) })
			err := e.Commit(t.Context())
			s.trouble.Answers(nil)
			s.trouble.Requests(nil)
			if tt.want == nil {
				wantDenied(t, "Commit", err)
			} else {
				wantErr(t, "Commit", err, tt.want)
			}
			wantSays(t, "Commit", err, "other bytes than were uploaded", s.rescued(want))
			if !errors.As(err, new(*format.DamageError)) {
				t.Errorf("Commit: got %v, want a DamageError, for which the shard is quarantined", err)
			}
			expect.NoError(t, e.Close())
		})
	}
}

// TestReplacedMeanwhile: another process replaces the wrong image before it is uploaded
// again. What that process uploaded is not damaged.
func TestReplacedMeanwhile(t *testing.T) {
	s, want, e := erasing(t, nil)
	other := content(2, 50_000)
	damage := corrupt(1)
	var once sync.Once
	s.trouble.Answers(onceCompleted(func(answer *http.Response) error {
		if answer.ContentLength >= 10_000 {
			once.Do(func() { s.put(other) })
		}
		return damage(answer)
	}))
	err := e.Commit(t.Context())
	s.trouble.Answers(nil)
	wantErr(t, "Commit", err, pool.ErrInUse, s.rescued(want))
	if errors.As(err, new(*format.DamageError)) {
		t.Errorf("Commit: got %v, which says that the image is damaged", err)
	}
	expect.NoError(t, e.Close())
	wantContent(t, s.pool, "one", other)
}

// TestLargeRescuedCopy: Edit reports progress for each piece of a kept copy that it reads,
// and reads no further once its context has ended.
func TestLargeRescuedCopy(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	want := content(1, 9<<20) // three pieces
	finished(t, s.pool, "one", want)
	var requests atomic.Int32
	s.trouble.Requests(func(http.ResponseWriter, *http.Request) bool { requests.Add(1); return false })
	// edit returns how often progress was reported beyond once for each request.
	edit := func(reported func(pieces int32, cancel func())) (pieces int32, err error) {
		kept := filepath.Join(s.settings.TmpDirectory, "shards", "one.other.rescued")
		expect.NoError(t, os.WriteFile(kept, want, 0o600))
		requests.Store(0)
		var progress atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e, err := s.pool.Edit(pool.WithProgress(ctx, func() { reported(progress.Add(1)-requests.Load(), cancel) }), "one", pooltest.Anything{})
		if err == nil {
			expect.NoError(t, e.Close())
		}
		return progress.Load() - requests.Load(), err
	}
	if pieces, err := edit(func(int32, func()) {}); err != nil || pieces < 3 {
		t.Errorf("Edit reported %d pieces, %v", pieces, err)
	}
	s.wantClean("shards/one")
	pieces, err := edit(func(pieces int32, cancel func()) {
		if pieces > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || pieces != 1 {
		t.Errorf("Edit reported %d pieces, %v, after its context had ended", pieces, err)
	}
}

// TestUnknownCompletion: no request to complete the upload is answered. The store may
// still do it, so the copy is kept until the store has it, or cannot have it any more.
func TestUnknownCompletion(t *testing.T) {
	s, want, e := erasing(t, impatient)
	s.trouble.Requests(func(w http.ResponseWriter, r *http.Request) bool {
		return isOf(r, "POST /", "uploadId=") && reset(w, r)
	})
	err := e.Commit(t.Context())
	s.trouble.Requests(nil)
	wantErr(t, "Commit", err, pool.ErrUnavailable, s.rescued(want))
	expect.NoError(t, e.Close())
	wantContent(t, s.pool, "one", content(1, 100_000))
	s.begun("shards/one") // as if the upload could still be completed
	e = s.edited(want)
	s.wantUploads()
	expect.NoError(t, errors.Join(e.Commit(t.Context()), e.Close()))
	wantContent(t, s.pool, "one", want)
	s.wantClean("shards/one")
}

// TestRefusedCompletion: a store that refuses to complete the upload has the old image,
// and no copy is kept.
func TestRefusedCompletion(t *testing.T) {
	s, _, e := erasing(t, nil)
	s.trouble.Requests(refuse("POST /", "uploadId=", 403, "QuotaExceeded"))
	wantErr(t, "Commit", e.Commit(t.Context()), pool.ErrFull)
	s.trouble.Requests(nil)
	expect.NoError(t, e.Close())
	wantContent(t, s.pool, "one", content(1, 100_000))
	s.wantClean("shards/one")
}

// TestCopyIsKept: from before the upload is completed until the image was read back, a
// process that dies leaves the copy, under a name that no other process removes.
func TestCopyIsKept(t *testing.T) {
	s, want, e := erasing(t, nil)
	var checked atomic.Int32
	s.trouble.Requests(func(_ http.ResponseWriter, r *http.Request) bool {
		completing := isOf(r, "POST /", "uploadId=")
		if completing || checked.Load() > 0 && isOf(r, "GET /", "shards/one") {
			s.rescued(want)
			checked.Add(1)
		}
		return false
	})
	expect.NoError(t, e.Commit(t.Context()))
	s.trouble.Requests(nil)
	if checked.Load() < 2 {
		t.Error("no request was seen")
	}
	expect.NoError(t, e.Close())
	s.wantClean("shards/one")
}
