// SPDX-License-Identifier: GPL-3.0-or-later

package alerts

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"winery/internal/httpapi/rpc"
	"winery/test/certtest"
	"winery/test/expect"
	"winery/test/harness"
)

// transient is how long a rule may hold under normal load: alerts wait for a minute and
// more, and a short run would see none of them fire.
const transient = 15 * time.Second

// holdsAnyway are the rules that say nothing of so short a run, with the reason.
var holdsAnyway = map[string]string{
	"WineryPoolFillsUp": "from the first seconds it concludes how full the pool is in 14 days",
}

// lasting returns an alert that fires, or whose rule has held for longer than is
// transient; "" if there is none.
func lasting(alerts []harness.Alert, now time.Time) string {
	for _, a := range alerts {
		name := a.Labels["alertname"]
		if a.State == "firing" || holdsAnyway[name] == "" && now.Sub(a.ActiveAt) > transient {
			return fmt.Sprintf("%s %v: %s since %v", name, a.Labels, a.State, a.ActiveAt)
		}
	}
	return ""
}

// TestLasting: a rule that always holds is found long before it fires.
func TestLasting(t *testing.T) {
	now := time.Now()
	alert := func(name, state string, age time.Duration) []harness.Alert {
		return []harness.Alert{{Labels: map[string]string{"alertname": name}, State: state, ActiveAt: now.Add(-age)}}
	}
	for _, bad := range [][]harness.Alert{
		alert("WineryFullShardsWait", "pending", 20*time.Second), alert("WineryShardQuarantined", "firing", 0), alert("WineryPoolFillsUp", "firing", 0),
	} {
		if lasting(bad, now) == "" {
			t.Errorf("no fault: %v", bad)
		}
	}
	for _, good := range [][]harness.Alert{nil, alert("WineryNoPackerWorks", "pending", time.Second), alert("WineryPoolFillsUp", "pending", time.Minute)} {
		if fault := lasting(good, now); fault != "" {
			t.Error(fault)
		}
	}
}

// TestNormalLoad has a fleet add, read and delete objects, pack, clean and scrub, with
// the rules as they are installed: no alert fires, nor would later, and each query of the
// dashboard returns data at the end. WINERY_TEST_ALERTS_DURATION says how long it runs.
func TestNormalLoad(t *testing.T) {
	duration := 25 * time.Second
	if text := os.Getenv("WINERY_TEST_ALERTS_DURATION"); text != "" {
		var err error
		duration, err = time.ParseDuration(text)
		expect.NoError(t, err)
	}
	s := newStage(t, rulesFile, duration+5*time.Minute)
	ca, dir := certtest.New(t), t.TempDir()
	certificate, key, access := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "access.yml")
	ca.ServerUntil(certificate, key, time.Now().AddDate(1, 0, 0))
	permit(t, access, time.Now().AddDate(1, 0, 0))
	s.writerWith(fmt.Sprintf("  tls: {certificate: %q, key: %q}\n  access: %q\n", certificate, key, access))
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		s.start(role)
	}
	erased := s.fill()
	s.fill()
	expect.NoError(t, s.WaitReadOnly(s.ctx))
	expect.NoError(t, s.Client.Delete(s.ctx, erased.id))
	s.start(harness.Mapper, "--scrub-rate", "100")

	began, next, report := time.Now(), time.NewTicker(200*time.Millisecond), time.Now().Add(time.Minute)
	defer next.Stop()
	empty := ""
	for step := 0; time.Since(began) < duration || empty != ""; step++ {
		<-next.C
		s.work(step)
		alerts, err := s.prom.Alerts(s.ctx)
		expect.NoError(t, err)
		if time.Since(began) < duration { // what held at the start may end until then
			alerts = slices.DeleteFunc(alerts, func(a harness.Alert) bool { return a.State != "firing" })
		}
		if fault := lasting(alerts, time.Now()); fault != "" {
			t.Fatalf("after %v of normal load: %s", time.Since(began), fault)
		}
		if time.Since(began) > duration && step%5 == 0 {
			empty = s.emptyQuery()
		}
		if time.Now().After(report) {
			t.Logf("%v: %d steps, no alert", time.Since(began).Round(time.Second), step)
			report = time.Now().Add(time.Minute)
		}
		if s.ctx.Err() != nil {
			t.Fatalf("a query of the dashboard returns no data: %s", empty)
		}
	}
}

// work adds, looks for, reads and deletes a few objects. A shard is full after a quarter
// of a minute.
func (s *stage) work(step int) {
	s.t.Helper()
	batch := make([]rpc.Object, 3)
	for i := range batch {
		content := make([]byte, 5000)
		_, _ = rand.Read(content) // never fails
		batch[i] = rpc.Object{ID: sha256.Sum256(content), Content: content}
	}
	last := batch[2]
	expect.NoError(s.t, s.Client.Add(s.ctx, last.ID, last.Content))
	_, _, err := s.Client.AddBatch(s.ctx, batch)
	expect.NoError(s.t, err)
	_, err = s.Client.Get(s.ctx, s.kept)
	expect.NoError(s.t, err)
	_, err = s.Client.Get(s.ctx, last.ID)
	expect.NoError(s.t, err)
	if step%10 == 0 {
		expect.NoError(s.t, s.Client.Delete(s.ctx, last.ID))
	}
}

// queries returns those of the dashboard.
func queries(t testing.TB) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/winery.json")
	expect.NoError(t, err)
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	expect.NoError(t, json.Unmarshal(text, &dashboard))
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			all = append(all, strings.ReplaceAll(target.Expr, "$__rate_interval", "1m"))
		}
	}
	if len(all) < 40 {
		t.Fatalf("found only %d queries", len(all))
	}
	return all
}

// emptyQuery returns a query of the dashboard without data, "" if there is none.
func (s *stage) emptyQuery() string {
	s.t.Helper()
	for _, query := range queries(s.t) {
		series, err := s.prom.Query(s.ctx, query)
		if err != nil && s.ctx.Err() == nil {
			s.t.Fatal(query, err)
		}
		if len(series) == 0 {
			return query
		}
	}
	return ""
}
