// SPDX-License-Identifier: GPL-3.0-or-later

package ingest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"winery/internal/ingest"
	"winery/internal/metrics"
	"winery/sharedbase"
	"winery/test/expect"
)

// The queue is measured while an add waits, and is empty again when the add is
// withdrawn or answered; waits and commits are timed.
func TestMeasured(t *testing.T) {
	f := newFixture(t)
	m, err := metrics.FromEnvironment(quiet)
	expect.NoError(t, err)
	defer m.Close()
	measures := func(lines string) bool {
		text := `# HELP winery_adds_memory_bytes Memory of the adds that are not answered yet.
			# TYPE winery_adds_memory_bytes gauge
			# HELP winery_adds_waiting Adds that no lane of the writer has taken yet.
			# TYPE winery_adds_waiting gauge
			` + lines + "\n"
		return testutil.GatherAndCompare(m.Registry(), strings.NewReader(text), "winery_adds_waiting", "winery_adds_memory_bytes") == nil
	}
	const empty = "winery_adds_memory_bytes 0\nwinery_adds_waiting 0"
	w := f.writer(ingest.Options{Metrics: m})
	ctx, withdraw := context.WithCancel(t.Context())
	added := make(chan error)
	go func() {
		_, err := w.Add(ctx, []sharedbase.Object{object("1234567890")})
		added <- err
	}()
	expect.Eventually(t, "an add in the queue", func() bool { return measures("winery_adds_memory_bytes 266\nwinery_adds_waiting 1") })
	withdraw()
	if err := <-added; !errors.Is(err, context.Canceled) || !measures(empty) {
		t.Errorf("after %v the queue is not empty", err)
	}
	w.Start()
	f.add(w, object("1234567890"))
	if !measures(empty) {
		t.Error("after an add the queue is not empty")
	}
	if n, err := testutil.GatherAndCount(m.Registry(), "winery_commit_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d series of commits: %v", n, err)
	}
	families, err := m.Registry().Gather()
	expect.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "winery_add_queue_duration_seconds" {
			if n := family.GetMetric()[0].GetHistogram().GetSampleCount(); n != 1 { // the add that was withdrawn does not count
				t.Errorf("%d waits in the queue", n)
			}
		}
	}
}
