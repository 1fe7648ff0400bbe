// SPDX-License-Identifier: GPL-3.0-or-later

package metrics_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"winery/internal/metrics"
)

// TestSent holds the form of each metric, and the tags that the environment adds.
func TestSent(t *testing.T) {
	r := listen(t)
	t.Setenv("ROOM", "cellar")
	t.Setenv("STATSD_TAGS", "a:1,,wrong,room:$ROOM,again:${ROOM},unknown:$NO_SUCH_ROOM,url:http://x")
	var log bytes.Buffer
	m, err := metrics.FromEnvironment(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	m.Request("get", 1500*time.Microsecond, metrics.Success, "")
	m.Request("get", time.Second, metrics.ClientError, "KeyError")
	m.In("add", 10)
	m.In("add", 5)
	m.PackingStarts(100)
	m.Running("writer", "1.0", "0123", pools)
	m.StepFailed("packer", "")
	m.BackOff("packer", "", 2*time.Second)
	m.Stalled("packer", time.Minute)
	m.LeaseLost("packer")
	m.Close()
	const constant = "again:cellar,room:cellar,unknown:$NO_SUCH_ROOM,url:http://x"
	ofRole := "|a:1,again:cellar,role:packer," + constant[13:]
	want := map[string]float64{
		"swh_objstorage_request_duration_seconds|ms|a:1,again:cellar,endpoint:get," + constant[13:]:                                1.5,
		"swh_objstorage_request_duration_seconds_error_count|c|a:1,again:cellar,endpoint:get,error_type:KeyError," + constant[13:]: 1,
		"swh_objstorage_in_bytes_total|c|a:1,again:cellar,endpoint:add_bytes," + constant[13:]:                                     15,
		"swh_objstorage_winery_packer_shard_max_size_bytes|g|a:1," + constant:                                                      100,
		"winery_images_hanging|g|a:1,again:cellar,pool_name:shards," + constant[13:]:                                               0,
		"winery_step_failures_total|c" + ofRole:                                                                                    1, "winery_backoff_seconds|g" + ofRole: 2,
		"winery_stalled_seconds|g" + ofRole: 60, "winery_lease_lost_total|c" + ofRole: 1,
	}
	got := r.got()
	if !slices.Equal(names(got), names(want)) {
		t.Fatalf("got %v", got)
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
	if strings.Count(log.String(), "level=") != 1 || !strings.Contains(log.String(), "tag=wrong") {
		t.Errorf("the log is %s", log.String())
	}
}

// TestNothingSent: without a statsd server nothing is sent, and measuring takes no
// memory, with a registry or without a client.
func TestNothingSent(t *testing.T) {
	t.Setenv("STATSD_HOST", "")
	t.Setenv("STATSD_PORT", "wrong, but not used")
	m, err := metrics.FromEnvironment(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for name, m := range map[string]*metrics.Client{"registry": m, "no client": nil} {
		if allocations := testing.AllocsPerRun(100, func() { measureAll(m) }); allocations != 0 {
			t.Errorf("%s: %v allocations", name, allocations)
		}
	}
}

var pools = []string{"shards"}

// measureAll calls each measurement.
func measureAll(m *metrics.Client) {
	m.Running("packer", "1.0", "0123", pools)
	m.LoopBegins("cleaner", "tables")
	m.InFlight(1)
	m.Request("get", 1, metrics.Success, "")
	m.Storage("get", "winery", 1, metrics.ServerError, "Error")
	m.In("add", 1)
	m.Out("get", 1)
	m.BatchIn("add_batch", 1)
	m.BatchOut("get_batch", 1)
	m.ImageOpened("shards", 1, metrics.NotMapped)
	m.ImageRequested("shards", metrics.Hit)
	m.TableRequested("shards")
	m.ImagesHanging("shards", 1)
	m.HashCacheUsed("shards", metrics.HashMiss)
	m.HashCacheSize(1)
	m.HashCacheFailed()
	m.ReadRefused("shards")
	m.AddsWaiting(1)
	m.AddsMemory(1)
	m.AddQueued(1)
	m.Committed(1, nil)
	m.Packs("shards", 1000)
	m.PackingStarts(1)
	m.ObjectPacked("shards", 1)
	m.Verified("shards", 1)
	m.Packed("shards", 1, "")
	m.Erased("shards", 1)
	m.Overwritten("shards", 1)
	m.Reclaimed("packing")
	m.Quarantined("packer", "shards")
	m.StepFailed("packer", "")
	m.LeaseLost("packer")
	m.BackOff("packer", "", 1)
	m.Stalled("packer", 1)
	m.Scrubbed("shards", 1)
	m.ScrubFound("shards", "damaged")
	m.ImageScrubbed("shards")
	m.RoundScrubbed()
}

// TestRegistry: each measurement has its Prometheus metric, whose names, units and
// help follow the conventions that promlint knows.
func TestRegistry(t *testing.T) {
	t.Setenv("STATSD_HOST", "")
	m, err := metrics.FromEnvironment(nil)
	if err != nil {
		t.Fatal(err)
	}
	measureAll(m)
	m.Expires(time.Unix(1, 0), map[string]time.Time{"loader": time.Unix(2, 0)})
	problems, err := testutil.GatherAndLint(m.Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	described := make(chan *prometheus.Desc, 1000)
	m.Registry().Describe(described)
	close(described)
	for d := range described {
		name := strings.Split(d.String(), `"`)[1]
		if !strings.HasPrefix(name, "winery_") {
			continue // of Go and of the process
		}
		if n, err := testutil.GatherAndCount(m.Registry(), name); n == 0 || err != nil {
			t.Errorf("%s was not measured: %v", name, err)
		}
	}
	if err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(`
# HELP winery_packed_bytes_total Bytes of contents that were written to images.
# TYPE winery_packed_bytes_total counter
winery_packed_bytes_total{pool_name="shards"} 1
# HELP winery_quarantined_total Shards that were quarantined.
# TYPE winery_quarantined_total counter
winery_quarantined_total{pool_name="shards",role="packer"} 1
`), "winery_packed_bytes_total", "winery_quarantined_total"); err != nil {
		t.Error(err)
	}
}

func TestWrongPort(t *testing.T) {
	t.Setenv("STATSD_HOST", "localhost")
	for _, port := range []string{"0", "65536", "-1", "statsd"} {
		t.Setenv("STATSD_PORT", port)
		if _, err := metrics.FromEnvironment(nil); err == nil || !strings.Contains(err.Error(), "STATSD_PORT: found \""+port+`", must be`) {
			t.Errorf("%s: %v", port, err)
		}
	}
}

// TestServerUnavailable: a metrics server that is unavailable, or whose name is unknown,
// causes no error.
func TestServerUnavailable(t *testing.T) {
	away := listen(t)
	if err := away.conn.Close(); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "no such host"} {
		t.Setenv("STATSD_HOST", host)
		m, err := metrics.FromEnvironment(slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			m.Request("get", 1, metrics.Success, "")
		}
		m.Close()
	}
}

// TestBackOffOfTheStart: once a role's parts work, the wait of its start is no series any
// more: as the lowest of all packers, it would say for ever that one of them works.
func TestBackOffOfTheStart(t *testing.T) {
	m, err := metrics.FromEnvironment(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.BackOff("packer", "", 0)
	m.LoopBegins("packer", "1")
	m.LoopBegins("packer", "2")
	if n, err := testutil.GatherAndCount(m.Registry(), "winery_backoff_seconds"); n != 2 || err != nil {
		t.Errorf("%d series, %v; want those of the two parts", n, err)
	}
}
