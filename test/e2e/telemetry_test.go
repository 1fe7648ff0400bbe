// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
	"winery/test/harness/relay"
)

// notMeasured are the metrics that a fleet without faults does not have, each with
// the reason.
var notMeasured = map[string]string{
	"winery_scrub_findings_total":                 "nothing is damaged",
	"winery_scrub_last_round_timestamp_seconds":   "the first complete round begins after a minute",
	"winery_certificate_expiry_timestamp_seconds": "the writer has no TLS",
	"winery_access_expiry_timestamp_seconds":      "no access expires",
	"winery_hash_cache_lookups_total":             "the writer has no cache of hash functions",
}

// TestTelemetry starts a fleet whose database is unavailable: each role answers,
// and says that it is not ready. Once the database is there each role becomes
// ready, and after some work every metric has been measured. While PostgreSQL
// hangs the roles answer within a second.
func TestTelemetry(t *testing.T) {
	o := fleettest.Options(t)
	r, dsn, err := relay.Database(o.DSN)
	expect.NoError(t, err)
	t.Cleanup(r.Close)
	o.DSN = dsn
	src := goSource(t, "encoding")
	o.ShardMaxSize = src.Bytes / 3
	f := fleettest.New(t, o)
	ctx := fleettest.Within(t)

	r.Cut()
	var roles []*harness.Process
	for _, args := range [][]string{
		{harness.Writer, "--listen", "127.0.0.1:0"}, {harness.Packer}, {harness.Mapper}, {harness.Cleaner},
	} {
		p, err := f.Start(args[0], args[1:]...)
		expect.NoError(t, err)
		roles = append(roles, p)
	}
	for _, p := range roles {
		want(ctx, t, p, "/livez", 200, "ok")
		expect.NoError(t, harness.Until(ctx, func() (bool, error) { // it has tried to connect
			_, body, err := p.Ask(ctx, "/readyz")
			return strings.HasPrefix(body, "database: failed: the database is unavailable\n"), err
		}))
		want(ctx, t, p, "/readyz", 503, "pools: failed: not opened yet", "role: failed: starting")
		want(ctx, t, p, "/metrics", 200, "winery_database_up 0", "winery_build_info{")
	}
	r.Join()
	for _, p := range roles {
		expect.NoError(t, harness.Until(ctx, func() (bool, error) {
			status, body, err := p.Ask(ctx, "/readyz")
			return status == 200 && hasLines(body, "database: ok", "pools: ok", "role: ok") && (p != roles[0] || hasLines(body, "adds: ok")), err
		}))
	}

	writer, err := f.StartWriter(ctx)
	expect.NoError(t, err)
	_, err = src.Store(ctx, f.Client, func(int) {})
	expect.NoError(t, err)
	expect.NoError(t, f.WaitReadOnly(ctx))
	gone, err := f.DeleteSome(ctx, src)
	expect.NoError(t, err)
	_, err = src.Compare(ctx, f.Client, gone, func(int) {})
	expect.NoError(t, err)
	scrub, err := f.Start(harness.Mapper, "--scrub-rate", "1000") // now that there are images
	expect.NoError(t, err)
	roles = append(roles, writer, scrub)

	missing, err := harness.Metrics()
	expect.NoError(t, err)
	for name := range notMeasured {
		if missing[name] == nil {
			t.Errorf("there is no metric %s", name)
		}
		delete(missing, name)
	}
	if err := harness.Until(ctx, func() (bool, error) { // the scrub, and statistics that are kept for 15 s
		for _, p := range roles {
			_, body, err := p.Ask(ctx, "/metrics")
			if err != nil {
				return false, err
			}
			for line := range strings.Lines(body) {
				if name, found := strings.CutPrefix(line, "# TYPE "); found {
					delete(missing, strings.Fields(name)[0])
				}
			}
		}
		return len(missing) == 0, nil
	}); err != nil {
		t.Fatalf("not measured: %q: %v", slices.Sorted(maps.Keys(missing)), err)
	}
	want(ctx, t, writer, "/metrics", 200, `winery_http_request_duration_seconds_count{endpoint="get",result="success"}`,
		`winery_shards{pool_name="shards",state="readonly"}`, `winery_pool_up{pool_name="shards"} 1`)

	r.Hold()
	for _, p := range roles {
		expect.NoError(t, harness.Until(ctx, func() (bool, error) { // the last answer counts for a second
			status, _, err := p.Ask(ctx, "/readyz")
			return status == 503, err
		}))
		want(ctx, t, p, "/metrics", 200, "winery_database_up 0")
		want(ctx, t, p, "/livez", 200, "ok")
	}
	r.Resume()
}

// TestTwoPackersOfAHost: the default address is one for each role. A second packer
// takes another port, so that both work and answer; one that is told an address in
// use says what to do.
func TestTwoPackersOfAHost(t *testing.T) {
	o := fleettest.Options(t)
	o.ShardMaxSize = 1000
	f := fleettest.New(t, o)
	ctx := fleettest.Within(t)
	packer := filepath.Join(o.Bin, harness.Packer)
	_, file := f.For(harness.Packer)
	for _, name := range []string{"first", "second"} {
		p, err := harness.StartProcess(name, o.Dir, packer, "--config", file, "--log-format", "json")
		expect.NoError(t, err)
		t.Cleanup(func() { expect.NoError(t, p.Stop()) })
		expect.NoError(t, harness.Until(ctx, func() (bool, error) {
			status, _, err := p.Ask(ctx, "/readyz")
			return status == 200, err
		}))
	}
	second, err := os.ReadFile(filepath.Join(o.Dir, "second.log"))
	expect.NoError(t, err)
	if strings.Contains(string(second), "127.0.0.1:5005") || !strings.Contains(string(second), `"address":"127.0.0.1:`) {
		t.Errorf("the second packer has the address of the first:\n%s", second)
	}
	t.Setenv("WINERY_TELEMETRY_LISTEN", "127.0.0.1:5005")
	third, err := harness.StartProcess("third", o.Dir, packer, "--config", file)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, third.Kill()) })
	if err := fleettest.Ended(ctx, t, third); err == nil || !strings.Contains(err.Error(), "exit status 1") ||
		!strings.Contains(err.Error(), "address already in use; give each process of a host an address of its own") {
		t.Errorf("the third packer: %v", err)
	}
}

// hasLines reports whether there is a line that begins with each of lines.
func hasLines(body string, lines ...string) bool {
	return !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains("\n"+body, "\n"+line) })
}

// want fails unless a role answers soon, with a status and with a line
// that begins with each of lines.
func want(ctx context.Context, t *testing.T, p *harness.Process, path string, status int, lines ...string) {
	t.Helper()
	_, _, err := p.Ask(ctx, "/livez") // it listens
	expect.NoError(t, err)
	began := time.Now()
	got, body, err := p.Ask(ctx, path)
	expect.NoError(t, err)
	if took := time.Since(began); took > 5*time.Second { // a machine may be busy; a database that hangs takes longer
		t.Errorf("%s: %s took %v", p.Name, path, took)
	}
	if got != status {
		t.Errorf("%s: %s has status %d, want %d:\n%s", p.Name, path, got, status, body)
	}
	for _, line := range lines {
		if !hasLines(body, line) {
			t.Errorf("%s: %s has no line %q:\n%s", p.Name, path, line, body)
		}
	}
}
