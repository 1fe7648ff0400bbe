// SPDX-License-Identifier: GPL-3.0-or-later

package metrics_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

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
	m.Request("get", 1500*time.Microsecond, "")
	m.Request("get", time.Second, "KeyError")
	m.In("add", 10)
	m.In("add", 5)
	m.PackingStarts(100)
	m.StepFailed("packer")
	m.BackOff("packer", 2*time.Second)
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

// TestNothing holds that without a server nothing is sent, nor allocated.
func TestNothing(t *testing.T) {
	t.Setenv("STATSD_HOST", "")
	t.Setenv("STATSD_PORT", "wrong, but nobody asks")
	m, err := metrics.FromEnvironment(nil)
	if m != nil || err != nil {
		t.Fatalf("%v, %v", m, err)
	}
	allocations := testing.AllocsPerRun(100, func() {
		m.Request("get", 1, "")
		m.Storage("get", "winery", 1, "Error")
		m.In("add", 1)
		m.Out("get", 1)
		m.ImageOpened("shards", 1, "")
		m.ImageRequested("shards", metrics.Hit)
		m.TableRequested()
		m.PackingStarts(1)
		m.ObjectPacked("shards", 1)
		m.Packed("shards", 1, "")
		m.StepFailed("packer")
		m.BackOff("packer", 1)
		m.Stalled("packer", 1)
		m.LeaseLost("packer")
		m.Close()
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
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
			m.Request("get", 1, "")
		}
		m.Close()
	}
}
