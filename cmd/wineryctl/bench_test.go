// SPDX-License-Identifier: GPL-3.0-or-later

package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/rpctest"
	"winery/test/expect"
)

func TestBench(t *testing.T) {
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{})
	ids := filepath.Join(t.TempDir(), "ids")
	out := must(t, "--url", url, "bench", "--writers", "2", "--readers", "2", "--batch", "3", "--duration", "100ms", "--save-ids", ids)
	for _, want := range []string{"OBJECTS/S", "\nwrite ", "\nread ", "latency of write", "latency of read", "#"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not printed:\n%s", want, out)
		}
	}
	saved, err := os.ReadFile(ids)
	expect.NoError(t, err)
	if n := strings.Count(string(saved), "\n"); n != store.Len() {
		t.Errorf("%d ids are saved, %d objects stored", n, store.Len())
	}

	out, stderr, status := ctl(t, "--url", url, "bench", "--writers", "1", "--duration", "100ms", "--save-ids", "/nowhere/ids")
	if status != 1 || !strings.Contains(out, "\nwrite ") || !strings.Contains(stderr, "/nowhere/ids") {
		t.Errorf("ids that cannot be saved: status %d, %q, %q", status, out, stderr)
	}

	stored := store.Len()
	out = must(t, "--url", url, "bench", "--readers", "2", "--ids", ids, "--duration", "100ms", "--output", "json")
	var rows []struct {
		Operation string
		Objects   int64
		Latency   map[string]float64 `json:"latency_seconds"`
		Histogram []struct{ Requests int64 }
	}
	expect.NoError(t, json.Unmarshal([]byte(out), &rows))
	if len(rows) != 1 || rows[0].Operation != "read" || rows[0].Objects == 0 || rows[0].Latency["p99"] <= 0 {
		t.Errorf("the JSON is %s", out)
	}
	var requests int64
	for _, bar := range rows[0].Histogram {
		requests += bar.Requests
	}
	if requests != rows[0].Objects || store.Len() != stored {
		t.Errorf("the histogram has %d requests of %d; %d objects were stored", requests, rows[0].Objects, store.Len()-stored)
	}
}

func TestBenchUsage(t *testing.T) {
	var store rpctest.Store
	url := serve(t, &store, rpc.Options{})
	noIDs := write(t, t.TempDir(), "ids", "README.md\n")
	for want, args := range map[string][]string{
		"bench needs clients":             {},
		"needs --ids FILE":                {"--readers", "1"},
		"--batch: found 0":                {"--writers", "1", "--batch", "0"},
		"must be production or source":    {"--writers", "1", "--sizes", "large"},
		"--duration: found 0s":            {"--writers", "1", "--duration", "0s"},
		"no such file":                    {"--readers", "1", "--ids", "/nowhere"},
		"is no SHA-256 in hexadecimal":    {"--readers", "1", "--ids", noIDs},
		"--ids: " + os.DevNull + " is em": {"--readers", "1", "--ids", os.DevNull},
	} {
		_, stderr, status := ctl(t, append([]string{"--url", url, "bench"}, args...)...)
		if status != 78 || !strings.Contains(stderr, want) {
			t.Errorf("%q: status %d, %q, want %q", args, status, stderr, want)
		}
	}
	if store.Len() != 0 {
		t.Errorf("%d objects were stored", store.Len())
	}
}
