// SPDX-License-Identifier: GPL-3.0-or-later

package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"winery/internal/storage"
	"winery/pool"
	"winery/pool/directory"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/harness/relay"
	"winery/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a server under test.
type served struct {
	*Server
	t        *testing.T
	registry *prometheus.Registry
	url      string
	client   *http.Client
	stalled  atomic.Bool
}

func serving(t *testing.T, webConfig string) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	expect.NoError(t, err)
	s := &served{t: t, registry: prometheus.NewRegistry(), url: "http://" + l.Addr().String()}
	s.Server = Serve(l, Options{
		Registry: s.registry, Role: "test", WebConfig: webConfig, Log: slog.New(slog.DiscardHandler),
		Live: func() error {
			if s.stalled.Load() {
				return Reason("no progress for 8m0s")
			}
			return nil
		},
	})
	t.Cleanup(s.Close)
	s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	return s
}

// get returns status and body of an answer, which must come soon.
func (s *served) ask(path string) (status int, body string) {
	s.t.Helper()
	answer, err := s.client.Get(s.url + path)
	expect.NoError(s.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	expect.NoError(s.t, err)
	return answer.StatusCode, string(text)
}

// get is ask, for an answer that must come soon.
func (s *served) get(path string) (status int, body string) {
	s.t.Helper()
	began := time.Now()
	status, body = s.ask(path)
	if took := time.Since(began); took > 5*time.Second { // a machine may be busy; a database that hangs takes longer
		s.t.Errorf("%s took %v", path, took)
	}
	return status, body
}

// want fails unless the answer has the status, and a line that begins with each of
// lines.
func (s *served) want(path string, status int, lines ...string) {
	s.t.Helper()
	got, body := s.get(path)
	if got != status {
		s.t.Errorf("%s: status %d, want %d:\n%s", path, got, status, body)
	}
	for _, line := range lines {
		if !hasLine(body, line) {
			s.t.Errorf("%s: no line %q in:\n%s", path, line, body)
		}
	}
}

// hasLine reports whether a line of body begins with line.
func hasLine(body, line string) bool { return strings.Contains("\n"+body, "\n"+line) }

// becomes waits for an answer with the status and the lines, and returns it: the database may
// take longer to answer than a request waits for it.
func (s *served) becomes(path string, status int, lines ...string) (body string) {
	s.t.Helper()
	expect.Eventually(s.t, fmt.Sprintf("%s: status %d with %q", path, status, lines), func() bool {
		var got int
		got, body = s.get(path)
		return got == status && !slices.ContainsFunc(lines, func(line string) bool { return !hasLine(body, line) })
	})
	return body
}

// Until it is opened, and while it does not answer, the database does not delay an
// answer; /livez does not depend on it.
func TestDatabase(t *testing.T) {
	s := serving(t, "")
	s.want("/livez", 200, "ok")
	s.want("/readyz", 503, "database: failed: not opened yet", "pools: failed: not opened yet")
	s.want("/metrics", 200, "winery_database_up 0")

	r, dsn, err := relay.Database(pgtest.New(t))
	expect.NoError(t, err)
	defer r.Close()
	base, err := sharedbase.New(dsn, "test")
	expect.NoError(t, err)
	defer base.Close()
	_, err = base.Init(t.Context())
	expect.NoError(t, err)
	_, err = base.CreateShard(t.Context(), "shards")
	expect.NoError(t, err)
	s.WatchDatabase(base)
	s.Fails("database", sharedbase.ErrNotAttached)
	s.want("/readyz", 503, "database: failed: "+sharedbase.ErrNotAttached.Error())
	s.DatabaseReady()
	s.WatchPools(nil)
	s.becomes("/readyz", 200, "database: ok", "pools: ok")
	s.becomes("/metrics", 200, "winery_database_up 1", `winery_shards{pool_name="shards",state="writing"} 1`,
		`winery_shards_oldest_age_seconds{pool_name="shards",state="writing"} `,
		`winery_shards_quarantined{pool_name="shards",state="writing"} 0`, `winery_database_clock_ahead_seconds `, `winery_statistics_up 1`,
		`winery_unerased_objects{pool_name="shards"} 0`, `winery_unerased_objects_oldest_age_seconds{pool_name="shards"} 0`, `winery_full_queue_bytes{pool_name="shards"} 0`)
	problems, err := testutil.GatherAndLint(s.registry)
	expect.NoError(t, err)
	if len(problems) > 0 {
		t.Error(problems)
	}

	r.Hold()
	defer r.Resume()
	for deadline := time.Now().Add(30 * time.Second); ; {
		status, body := s.get("/readyz")
		if status == 503 && strings.Contains(body, "database: failed: no answer") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %s", status, body)
		}
	}
	s.want("/metrics", 200, "winery_database_up 0")
	if _, body := s.get("/metrics"); strings.Contains(body, "winery_shards") {
		t.Errorf("an old answer counts as one of now:\n%s", body)
	}
	s.want("/livez", 200, "ok")
}

// hanging is a pool whose file system does not answer.
type hanging struct {
	pool.Pool
	calls   atomic.Int32
	release chan struct{}
}

func (h *hanging) Space(context.Context) (pool.Space, error) {
	h.calls.Add(1)
	<-h.release
	return pool.Space{}, errors.New("released")
}

// unlimited is a pool whose store cannot be asked for its space.
type unlimited struct{ pool.Pool }

func (unlimited) Space(context.Context) (pool.Space, error) { return pool.Unlimited, nil }

// A pool that hangs delays neither the scrape nor the answers of other pools, and
// holds one goroutine.
// TestManyUnerased: where one pool has more objects to erase than are counted, nothing is
// said of the others: 0 would be a guess.
func TestManyUnerased(t *testing.T) {
	s := serving(t, "")
	dsn := pgtest.New(t)
	base, err := sharedbase.New(dsn, "test")
	expect.NoError(t, err)
	defer base.Close()
	_, err = base.Init(t.Context())
	expect.NoError(t, err)
	pgtest.Exec(t, dsn, "INSERT INTO shards (name, state, pool_name) VALUES ('one', 'readonly', 'many'), ('two', 'readonly', 'others')")
	pgtest.Exec(t, dsn, "INSERT INTO signature2shard SELECT sha256(int8send(i)), 'deleted', (SELECT id FROM shards WHERE name = 'one') FROM generate_series(1, $1::int) i", sharedbase.MaxUnerased)
	s.WatchDatabase(base)
	s.DatabaseReady()
	metrics := s.becomes("/metrics", 200, fmt.Sprintf(`winery_unerased_objects{pool_name="many"} %d`, sharedbase.MaxUnerased))
	if strings.Contains(metrics, `winery_unerased_objects{pool_name="others"}`) {
		t.Error("a pool whose objects were not counted has a number of them")
	}
}

func TestPools(t *testing.T) {
	files, err := directory.New(directory.Settings{BaseDirectory: t.TempDir(), PoolName: "files"})
	expect.NoError(t, err)
	absent, err := directory.New(directory.Settings{BaseDirectory: "/nonexistent", PoolName: "absent"})
	expect.NoError(t, err)
	expect.NoError(t, files.Init(t.Context()))
	hung := &hanging{Pool: absent, release: make(chan struct{})}
	defer close(hung.release)
	s := serving(t, "")
	s.WatchPools(storage.Set{"files": files, "absent": absent, "hung": hung, "store": unlimited{files}})
	for range 3 {
		s.want("/metrics", 200, `winery_pool_up{pool_name="files"} 1`, `winery_pool_free_bytes{pool_name="files"} `, `winery_pool_size_bytes{pool_name="files"} `,
			`winery_pool_up{pool_name="absent"} 0`, `winery_pool_up{pool_name="hung"} 0`, `winery_pool_up{pool_name="store"} 1`)
	}
	families, err := s.registry.Gather()
	expect.NoError(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() != "winery_pool_up" && strings.Contains(m.String(), `value:"store"`) {
				t.Errorf("%s of a store without a limit: %s", f.GetName(), m)
			}
		}
	}
	if n := hung.calls.Load(); n != 1 {
		t.Errorf("%d calls into the pool that hangs", n)
	}
	problems, err := testutil.GatherAndLint(s.registry)
	expect.NoError(t, err)
	if len(problems) > 0 {
		t.Error(problems)
	}
}

func TestLivez(t *testing.T) {
	s := serving(t, "")
	s.want("/livez", 200, "ok")
	s.stalled.Store(true)
	s.want("/livez", 503, "failed: no progress for 8m0s")
}

// Each condition has its line, in the order in which they were added, with the
// texts of known errors only.
func TestReadyz(t *testing.T) {
	s := serving(t, "")
	s.DatabaseReady()
	s.WatchPools(nil)
	s.Requires("role", func() error { return nil })
	s.want("/metrics", 200, `winery_ready{role="test"} 0`)
	s.Requires("database", func() error { return nil })
	s.want("/metrics", 200, `winery_ready{role="test"} 1`)
	s.DatabaseReady()
	s.Requires("adds", func() error { return errors.New("dial tcp 10.1.2.3:5432: password=secret") })
	if status, body := s.get("/readyz"); status != 503 ||
		body != "database: failed: not opened yet\npools: ok\nrole: ok\nadds: failed: the log has the error\n" {
		t.Errorf("%d %s", status, body)
	}
	for reason, want := range map[error]string{
		&sharedbase.VersionError{Found: 4, Want: 5}:                                                              "the database has schema version 4, this program needs version 5: run `wineryctl db upgrade`",
		errors.Join(errors.New("secret"), &storage.RefusedError{Pool: "cold", Why: "marker missing in /secret"}): `pool "cold" cannot be used`,
		context.DeadlineExceeded:                              "no answer in time",
		errors.Join(sharedbase.ErrFull, errors.New("secret")): sharedbase.ErrFull.Error(),
	} {
		s.Fails("adds", reason)
		s.want("/readyz", 503, "adds: failed: "+want)
		if _, body := s.get("/readyz"); strings.Contains(body, "secret") {
			t.Error(body)
		}
	}
}

// Profiles are for the process's host only, whatever address the server has.
func TestProfiles(t *testing.T) {
	s := serving(t, "")
	s.want("/debug/pprof/", 200)
	s.want("/debug/pprof/goroutine?debug=1", 200, "goroutine profile:")
	h := s.handler(Options{Registry: s.registry, Log: slog.New(slog.DiscardHandler)})
	for _, c := range []struct {
		from, to string
		status   int
	}{
		{"192.0.2.1:1234", "192.0.2.2:5005", 403},
		{"[2001:db8::1]:1234", "[2001:db8::2]:5005", 403},
		{"[fe80::1%eth0]:1234", "[fe80::1%eth1]:5005", 403},
		{"192.0.2.1:1234", "127.0.0.1:5005", 403},
		{"192.0.2.1:1234", "", 403},
		{"", "127.0.0.1:5005", 403},
		{"127.0.0.1:1", "127.0.0.1:5005", 200},
		{"127.0.0.1:1", "", 200},
		{"[::1]:1", "[::1]:5005", 200},
		{"[::ffff:127.0.0.1]:1", "127.0.0.1:5005", 200},
		// A process that asks for 192.0.2.1 of its own host comes from there.
		{"192.0.2.1:1234", "192.0.2.1:5005", 200},
		{"192.0.2.1:1234", "[::ffff:192.0.2.1]:5005", 200},
		{"[2001:db8::1]:1234", "[2001:db8::1]:5005", 200},
		{"[fe80::1%eth0]:1234", "[fe80::1%eth0]:5005", 200},
	} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
			ctx := t.Context()
			if to, err := netip.ParseAddrPort(c.to); err == nil {
				ctx = context.WithValue(ctx, http.LocalAddrContextKey, net.TCPAddrFromAddrPort(to))
			}
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
			r.RemoteAddr = c.from
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			if answer.Code != c.status {
				t.Errorf("%s from %q to %q: status %d, want %d", path, c.from, c.to, answer.Code, c.status)
			}
		}
	}
}

// A profile takes as long as was asked for, and not until the server's deadline.
func TestLongProfile(t *testing.T) {
	s := serving(t, "")
	server := httptest.NewUnstartedServer(s.handler(Options{Registry: s.registry, Log: slog.New(slog.DiscardHandler)}))
	const deadline, long = 5 * time.Second, 6 * time.Second
	server.Config.ReadHeaderTimeout, server.Config.ReadTimeout, server.Config.WriteTimeout = deadline, deadline, deadline
	server.Start()
	defer server.Close()
	s.url = server.URL
	began := time.Now()
	if status, body := s.ask(fmt.Sprintf("/debug/pprof/trace?seconds=%.0f", long.Seconds())); status != 200 {
		t.Errorf("status %d: %s", status, body)
	}
	if took := time.Since(began); took < long {
		t.Errorf("it took %v", took)
	}
}

// While a fetch hangs, no caller waits for longer than its context, and no second
// fetch begins. A failed fetch is repeated after a second, a good one after its
// time.
func TestCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches, answer, reported := 0, make(chan error), 0
		c := &cached[int]{kept: 15 * time.Second, failed: func(error) { reported++ }, fetch: func(context.Context) (int, error) {
			fetches++
			return fetches, <-answer
		}}
		get := func() (int, error) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return c.get(ctx)
		}
		for range 3 {
			if _, err := get(); !errors.Is(err, errSilent) {
				t.Errorf("error %v", err)
			}
		}
		failed := errors.New("failed")
		answer <- failed
		synctest.Wait()
		if _, err := get(); !errors.Is(err, failed) || fetches != 1 {
			t.Errorf("error %v after %d fetches", err, fetches)
		}
		time.Sleep(errorKept)
		go func() { answer <- errors.New("failed") }()
		if _, err := get(); err == nil || reported != 1 {
			t.Errorf("error %v, %d reports", err, reported)
		}
		time.Sleep(errorKept)
		go func() { answer <- nil }()
		if v, err := get(); v != 3 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
		time.Sleep(14 * time.Second)
		if v, err := get(); v != 3 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
		time.Sleep(time.Second)
		go func() { answer <- nil }()
		if v, err := get(); v != 4 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
	})
}

// A measurement that takes longer than a scrape waits is old, not absent; and absent once
// it is too old.
func TestCachedIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 700 * time.Millisecond
		fetches, hangs := 0, new(atomic.Bool)
		c := &cached[int]{kept: 15 * time.Second, stale: staleLimit, fetch: func(context.Context) (int, error) {
			fetches++
			if !hangs.Load() {
				time.Sleep(takes)
				return fetches, nil
			}
			time.Sleep(time.Hour)
			return 0, errors.New("late")
		}}
		get := func() (int, error) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return c.get(ctx)
		}
		if v, err := get(); !errors.Is(err, errSilent) {
			t.Errorf("before the first fetch has ended: %d, %v", v, err)
		}
		for i, interval := range []time.Duration{16 * time.Second, time.Minute, 16 * time.Second, time.Minute} {
			time.Sleep(interval)
			if v, err := get(); v != i+1 || err != nil {
				t.Errorf("%v after fetch %d: %d, %v", interval, i+1, v, err)
			}
		}
		time.Sleep(time.Minute)
		hangs.Store(true)
		if v, err := get(); v != 5 || err != nil {
			t.Errorf("while a fetch hangs: %d, %v", v, err)
		}
		time.Sleep(staleLimit)
		if v, err := get(); !errors.Is(err, errSilent) {
			t.Errorf("after %v without a measurement: %d, %v", staleLimit, v, err)
		}
		time.Sleep(time.Hour)
	})
}
