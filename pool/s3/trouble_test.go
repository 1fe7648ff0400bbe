// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/pool"
	"winery/pool/s3"
	"winery/test/expect"
	"winery/test/s3test"
)

// isOf says whether a request begins with start, "PUT /", and has part in its URL.
func isOf(r *http.Request, start, part string) bool {
	line := r.Method + " " + r.URL.RequestURI()
	return strings.HasPrefix(line, start) && strings.Contains(line, part)
}

// refuse answers requests with an error.
func refuse(start, part string, status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !isOf(r, start, part) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		s3test.Answer(w, status, code)
		return true
	}
}

// reset cuts the connection of a request.
func reset(w http.ResponseWriter, _ *http.Request) bool {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = connection.Close()
	}
	return true
}

// times lets the first n requests that answer would answer have its answer, and the
// others pass.
func times(n int32, answer func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var left atomic.Int32
	left.Store(n)
	return func(w http.ResponseWriter, r *http.Request) bool {
		return left.Load() > 0 && answer(w, r) && left.Add(-1) >= 0
	}
}

// corrupt changes a byte of the answers to requests for large ranges, n times.
func corrupt(n int32) func(answer *http.Response) error {
	var left atomic.Int32
	left.Store(n)
	return func(answer *http.Response) error {
		if answer.Request.Method != http.MethodGet || answer.ContentLength < 10_000 || left.Add(-1) < 0 {
			return nil
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return err
		}
		body[len(body)/2] ^= 1
		answer.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	}
}

const always = 1 << 30

// onceCompleted changes the answers from the completion of an upload on.
func onceCompleted(change func(answer *http.Response) error) func(answer *http.Response) error {
	var completed atomic.Bool
	return func(answer *http.Response) error {
		if isOf(answer.Request, "POST /", "uploadId=") {
			completed.Store(true)
		}
		if !completed.Load() {
			return nil
		}
		return change(answer)
	}
}

// impatient makes what lasts as long as the pool's patience short.
func impatient(s *s3.Settings) { s.Patience, s.ReadPatience = 3*time.Second, 3*time.Second }

// TestPassing: a store that is overloaded, fails or resets connections for a moment
// delays, and nothing more; each pause is reported.
func TestPassing(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"500":      refuse("", "", 500, "InternalError"),
		"SlowDown": refuse("", "", 503, "SlowDown"),
		"502":      func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(502); return true },
		"429":      refuse("", "", 429, "TooManyRequests"),
		"Skewed":   refuse("", "", 403, "RequestTimeTooSkewed"),
		"Reset":    reset,
		"Digest":   refuse("PUT /", "partNumber=", 400, "BadDigest"),
		"Folder":   refuse("PUT /", "", 409, "ExistingObjectIsDirectory"),
	} {
		t.Run(name, func(t *testing.T) {
			var pauses atomic.Int32
			s := on(t, s3test.Moto(t), func(s *s3.Settings) {
				s.Retrying = func(operation string, err error, pause time.Duration) {
					if operation == "" || err == nil || pause <= 0 {
						t.Errorf("retrying %q after %v because of %v", operation, pause, err)
					}
					pauses.Add(1)
				}
			})
			want := content(1, 3<<20)
			s.trouble.Requests(times(2, answer))
			finished(t, s.pool, "one", want)
			s.trouble.Requests(times(2, answer))
			wantContent(t, s.pool, "one", want)
			if n := pauses.Load(); n < 2 {
				t.Errorf("%d pauses were reported", n)
			}
			s.wantClean("shards/one")
		})
	}
}

// TestUnavailable: a store that stays in trouble is ErrUnavailable, from every call,
// after the pool's patience.
func TestUnavailable(t *testing.T) {
	hung := make(chan struct{})
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"SlowDown": refuse("", "", 503, "SlowDown"),
		"Reset":    reset,
		"Hung":     func(http.ResponseWriter, *http.Request) bool { <-hung; panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			s := on(t, s3test.Moto(t), impatient)
			t.Cleanup(func() {
				if name == "Hung" {
					close(hung)
				}
			})
			s.trouble.Requests(answer)
			var all sync.WaitGroup
			for name, call := range calls(t, s.pool) {
				all.Go(func() { wantErr(t, name, call(), pool.ErrUnavailable) })
			}
			all.Wait()
		})
	}
}

// TestStopped: a server that is killed in the middle of an upload, or before, is
// ErrUnavailable, and the draft can be given up.
func TestStopped(t *testing.T) {
	each(t, func(t *testing.T, running *s3test.Server) {
		s := on(t, s3test.Start(t, running.Name), impatient)
		d := written(t, s.pool, "one", content(1, 100_000))
		s.server.Kill()
		wantErr(t, "Commit", d.Commit(t.Context()), pool.ErrUnavailable)
		expect.NoError(t, d.Abort(t.Context()))
		if got := s.files(); len(got) > 0 {
			t.Errorf("tmp_directory has %q", got)
		}
		for name, call := range calls(t, s.pool) {
			wantErr(t, name, call(), pool.ErrUnavailable)
		}
	})
}

// TestSkewedForGood: a store that refuses even the time that it says.
func TestSkewedForGood(t *testing.T) {
	s := on(t, s3test.Moto(t), impatient)
	s.trouble.Requests(refuse("", "", 403, "RequestTimeTooSkewed"))
	_, err := s.pool.Open(t.Context(), "one")
	wantDenied(t, "Open", err, "set the clock of this host")
}
