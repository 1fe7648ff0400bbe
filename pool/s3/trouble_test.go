// SPDX-License-Identifier: GPL-3.0-or-later

package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/pool"
	"winery/pool/pooltest"
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

// during calls call, and do while the first request of it that matches waits.
func (s *stage) during(start, part string, call func() error, do func()) error {
	s.Helper()
	return s.duringNth(1, start, part, call, do)
}

// duringSecond is during for the second request that matches.
func (s *stage) duringSecond(start, part string, call func() error, do func()) error {
	s.Helper()
	return s.duringNth(2, start, part, call, do)
}

func (s *stage) duringNth(n int32, start, part string, call func() error, do func()) error {
	s.Helper()
	reached, resume := make(chan struct{}), make(chan struct{})
	var matched atomic.Int32
	s.trouble.Requests(func(_ http.ResponseWriter, r *http.Request) bool {
		if isOf(r, start, part) && matched.Add(1) == n {
			close(reached)
			<-resume
		}
		return false
	})
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case <-reached:
		do()
	case err := <-done:
		s.Fatalf("no request %s…%s: %v", start, part, err)
	}
	close(resume)
	err := <-done
	s.trouble.Requests(nil)
	return err
}

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

// calls are all calls that send a request.
func calls(t *testing.T, p *s3.Pool) map[string]func() error {
	return map[string]func() error{
		"Create": func() error {
			_, err := p.Create(t.Context(), "two", 0, pooltest.Anything{})
			return err
		},
		"Open":        func() error { _, err := p.Open(t.Context(), "one"); return err },
		"OpenMapped":  func() error { _, err := p.OpenMapped(t.Context(), "one"); return err },
		"Edit":        func() error { _, err := p.Edit(t.Context(), "one", pooltest.Anything{}); return err },
		"Map":         func() error { return p.Map(t.Context(), "one") },
		"Mapped":      func() error { _, err := p.Mapped(t.Context()); return err },
		"List":        func() error { _, err := p.List(t.Context()); return err },
		"Remove":      func() error { return p.Remove(t.Context(), "one", pooltest.Anything{}) },
		"Init":        func() error { return p.Init(t.Context()) },
		"Marker":      func() error { _, err := p.Marker(t.Context()); return err },
		"SetMarker":   func() error { return p.SetMarker(t.Context(), []byte("x"), true) },
		"CheckAccess": func() error { return p.CheckAccess(t.Context(), true) },
	}
}

// TestErrors: what does not pass is an error of its kind, with the cure, from every
// call; nothing is repeated that cannot succeed.
func TestErrors(t *testing.T) {
	for code, tt := range map[string]struct {
		status int
		want   error // nil: an AccessError
		says   string
	}{
		"NoSuchBucket":                 {404, pool.ErrNoPool, "create the bucket, or correct base_url"},
		"AccessDenied":                 {403, nil, "s3:GetObject"},
		"InvalidAccessKeyId":           {403, nil, "AWS_ACCESS_KEY_ID"},
		"SignatureDoesNotMatch":        {403, nil, "AWS_SECRET_ACCESS_KEY"},
		"ExpiredToken":                 {400, nil, "AWS_SESSION_TOKEN"},
		"PermanentRedirect":            {301, nil, "region_name"},
		"AuthorizationHeaderMalformed": {400, nil, "region_name"},
		"QuotaExceeded":                {403, pool.ErrFull, "raise the quota"},
		"InsufficientStorage":          {507, pool.ErrFull, "raise the quota"},
		"SomethingElse":                {403, nil, "s3:GetObject"},
	} {
		t.Run(fmt.Sprint(tt.status, code), func(t *testing.T) {
			s := on(t, s3test.Moto(t), nil)
			s.trouble.Requests(refuse("", "", tt.status, code))
			for name, call := range calls(t, s.pool) {
				s.trouble.Seen()
				err := call()
				if tt.want != nil {
					wantErr(t, name, err, tt.want, tt.says)
				} else {
					wantDenied(t, name, err, tt.says, code)
				}
				if seen := s.trouble.Seen(); len(seen) > 1 {
					t.Errorf("%s: requests %q, want one", name, seen)
				}
			}
		})
	}
}

// TestNotS3: the page of a proxy, which knows no such path, does not mean that there is
// no image.
func TestNotS3(t *testing.T) {
	s := on(t, s3test.Moto(t), nil)
	s.trouble.Requests(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "<html>page not found</html>", http.StatusNotFound)
		return true
	})
	for name, call := range calls(t, s.pool) {
		err := call()
		wantSays(t, name, err)
		if errors.Is(err, pool.ErrNotFound) || errors.Is(err, pool.ErrNotMapped) || errors.Is(err, pool.ErrNoMarker) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// impatient makes what lasts as long as the pool's patience short.
func impatient(s *s3.Settings) { s.Patience, s.ReadPatience = 3*time.Second, 3*time.Second }

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

// TestCredentials: what the real server says to wrong keys, and the SDK to none.
func TestCredentials(t *testing.T) {
	server := s3test.Versity(t)
	for name, tt := range map[string]struct {
		change func(s *s3.Settings)
		says   string
	}{
		"key":    {func(s *s3.Settings) { s.AccessKey = "another" }, "does not know the access key"},
		"secret": {func(s *s3.Settings) { s.SecretKey = "another" }, "secret key is wrong"},
		"none":   {func(s *s3.Settings) { s.AccessKey, s.SecretKey = "", "" }, "AWS_ACCESS_KEY_ID"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
				t.Setenv(variable, "")
			}
			t.Setenv("HOME", t.TempDir())
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			s := on(t, server, tt.change)
			for name, call := range calls(t, s.pool) {
				wantDenied(t, name, call(), tt.says)
			}
		})
	}
}

// TestEnvironment: endpoint and credentials come from the environment of the AWS SDKs.
func TestEnvironment(t *testing.T) {
	server := s3test.Versity(t)
	t.Setenv("AWS_ENDPOINT_URL", server.Endpoint)
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	s := settings("", server.Bucket(t), t.TempDir())
	s.AccessKey, s.SecretKey = "", ""
	expect.NoError(t, newPool(t, s).CheckAccess(t.Context(), true))
}

// TestNoBucket: a bucket that does not exist, on real servers.
func TestNoBucket(t *testing.T) {
	each(t, func(t *testing.T, server *s3test.Server) {
		s := on(t, server, func(s *s3.Settings) { s.BaseURL = "s3://no-such-bucket-here" })
		for name, call := range calls(t, s.pool) {
			wantErr(t, name, call(), pool.ErrNoPool, "create the bucket, or correct base_url")
		}
	})
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

// TestTLS: the certificate of the store is checked against the authorities that verify
// names, unless verify is false.
func TestTLS(t *testing.T) {
	server := s3test.Versity(t)
	tls := s3test.BeforeTLS(t, server)
	authority := filepath.Join(t.TempDir(), "authority.pem")
	expect.NoError(t, os.WriteFile(authority, tls.Authority, 0o600))
	s := settings(tls.Endpoint, server.Bucket(t), t.TempDir())
	wantDenied(t, "CheckAccess", newPool(t, s).CheckAccess(t.Context(), true), "certificate", "AWS_CA_BUNDLE")
	s.CABundle = authority
	finished(t, newPool(t, s), "one", content(1, 1000))
	s.CABundle, s.Insecure = "", true
	finished(t, newPool(t, s), "two", content(1, 1000))
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
