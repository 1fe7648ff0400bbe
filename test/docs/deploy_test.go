// SPDX-License-Identifier: GPL-3.0-or-later

package docs_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"winery/test/expect"
	"winery/test/harness"
)

// alert is a rule of deploy/prometheus/winery.rules.yml.
type alert struct {
	Name        string `yaml:"alert"`
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	expect.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy/prometheus/winery.rules.yml")), &file))
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("found only %d alerts", len(all))
	}
	return all
}

// TestPromtool: Prometheus accepts the files, and the alerts fire when they should.
func TestPromtool(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "winery.rules.yml"}, {"check", "config", "prometheus.yml"}, {"test", "rules", "winery.rules.test.yml"},
	} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = filepath.Join(root, "deploy/prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
}

// measured returns the metrics of a role.
var measured = sync.OnceValues(harness.Metrics)

// prometheusMetric matches a metric in a query.
var prometheusMetric = regexp.MustCompile(`\b(?:winery|process|go)_[a-z_]+`)

// unknownMetrics returns the metrics of a query that no role has.
func unknownMetrics(t *testing.T, query string) (unknown []string) {
	t.Helper()
	known, err := measured()
	expect.NoError(t, err)
	for _, name := range prometheusMetric.FindAllString(query, -1) {
		histogram := regexp.MustCompile(`_(count|sum|bucket)$`).ReplaceAllString(name, "")
		if known[name] == nil && known[histogram] == nil && strings.HasPrefix(name, "winery_") {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// TestAlerts: each alert says how urgent it is and what happened, is made of metrics
// that exist, and has a runbook, and tests in which it fires and in which it does not.
func TestAlerts(t *testing.T) {
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name   string `yaml:"alertname"`
				Firing []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	expect.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy/prometheus/winery.rules.test.yml")), &tests))
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, a := range test.Alerts {
			fires[a.Name] = fires[a.Name] || len(a.Firing) > 0
			silent[a.Name] = silent[a.Name] || len(a.Firing) == 0
		}
	}
	var names []string
	for _, a := range alerts(t) {
		names = append(names, a.Name)
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q", a.Name, s)
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: annotations %q", a.Name, a.Annotations)
		}
		if want := "/usr/share/doc/winery/runbooks.md#" + strings.ToLower(a.Name); a.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook %s, want %s", a.Name, a.Annotations["runbook_url"], want)
		}
		if unknown := unknownMetrics(t, a.Expr); unknown != nil {
			t.Errorf("%s: there are no metrics %q", a.Name, unknown)
		}
		if !fires[a.Name] || !silent[a.Name] {
			t.Errorf("%s: the tests of the rules need a time at which it fires, and one at which it does not", a.Name)
		}
	}
	var sections []string
	for _, match := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(read(t, "docs/runbooks.md"), -1) {
		sections = append(sections, match[1])
	}
	if !slices.Equal(names, sections) {
		t.Errorf("alerts\n%q\nrunbooks\n%q", names, sections)
	}
}

// TestRunbooks: each runbook says the same five things, the third by a command. Units,
// codes of "wineryctl status" and log messages that it names exist; TestCommandLines
// checks the commands of Winery.
func TestRunbooks(t *testing.T) {
	codes := read(t, "internal/status/code.go")
	searched := regexp.MustCompile(`--grep '([^']+)'`)
	unit := regexp.MustCompile(`^(?:systemctl .*|journalctl -u )(winery-[a-z-]+)`)
	for _, a := range alerts(t) {
		text := section(t, "docs/runbooks.md", a.Name)
		parts := regexp.MustCompile(`(?m)^- \*\*(.*?):\*\*`).FindAllStringSubmatch(text, -1)
		var have []string
		for _, part := range parts {
			have = append(have, part[1])
		}
		if want := []string{"Meaning", "At risk", "Look first", "Do", "Stop and call for help"}; !slices.Equal(have, want) {
			t.Errorf("%s: its runbook has %q, want %q", a.Name, have, want)
		}
		_, look, _ := strings.Cut(text, "**Look first:**")
		if look, _, _ = strings.Cut(look, "- **Do:**"); !code.MatchString(look) {
			t.Errorf("%s: its runbook has no command to look first: %s", a.Name, look)
		}
		for _, named := range regexp.MustCompile(`\b[UW]\d{3}\b`).FindAllString(text, -1) {
			if !strings.Contains(codes, `"`+named+`"`) {
				t.Errorf("%s: there is no code %s", a.Name, named)
			}
		}
		for _, message := range searched.FindAllStringSubmatch(text, -1) {
			if err := exec.Command("grep", "-rqF", "--include=*.go", message[1], filepath.Join(root, "internal")).Run(); err != nil {
				t.Errorf("%s: no role logs %q: %v", a.Name, message[1], err)
			}
		}
		for _, match := range code.FindAllStringSubmatch(text, -1) {
			if named := unit.FindStringSubmatch(match[1]); named != nil {
				if found, err := filepath.Glob(filepath.Join(root, "systemd", named[1]+"*.service")); err != nil || len(found) == 0 {
					t.Errorf("%s: `%s`: there is no such unit", a.Name, match[1])
				}
			}
		}
	}
}

// TestDashboard: the dashboard is JSON with a row for each subject, its panels have ids of
// their own, and show every metric. test/alerts runs its queries.
func TestDashboard(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			ID          int
			Type, Title string
			Targets     []struct{ Expr string }
			FieldConfig struct{ Defaults struct{ Unit string } }
			GridPos     struct{ W, H int }
		}
	}
	expect.NoError(t, json.Unmarshal([]byte(read(t, "deploy/grafana/winery.json")), &dashboard))
	var rows []string
	ids, shown := map[int]bool{}, ""
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || panel.Title == "" || panel.GridPos.W == 0 || panel.GridPos.H == 0 {
			t.Errorf("panel %+v: its id must be its own, and it needs a title and a place", panel)
		}
		ids[panel.ID] = true
		if panel.Type == "row" {
			rows = append(rows, panel.Title)
			continue
		}
		if len(panel.Targets) == 0 || panel.FieldConfig.Defaults.Unit == "" {
			t.Errorf("panel %q needs a query and a unit", panel.Title)
		}
		for _, target := range panel.Targets {
			shown += target.Expr + "\n"
			if unknown := unknownMetrics(t, target.Expr); unknown != nil {
				t.Errorf("panel %q: there are no metrics %q", panel.Title, unknown)
			}
		}
	}
	if want := []string{"Is all well", "API", "Ingest and reads", "Packing", "Cleaning, erasing and verification", "Pools", "Database", "Processes"}; !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
	all, err := measured()
	expect.NoError(t, err)
	for name := range all {
		if !regexp.MustCompile(name + `(_count|_sum|_bucket)?\b`).MatchString(shown) {
			t.Errorf("no panel shows %s", name)
		}
	}
}
