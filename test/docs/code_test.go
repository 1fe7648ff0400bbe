// SPDX-License-Identifier: GPL-3.0-or-later

package docs_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"winery/test/harness"
)

// metricName matches a metric that a text quotes.
var metricName = regexp.MustCompile("[\"`]((?:swh|winery)_[a-z_]+)[\"`]")

func metricNames(text string) (names []string) {
	for _, match := range metricName.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestMetrics compares the Prometheus metrics of a role, with their labels, with the
// tables in operations.md, and the names that statsd gets with the same tables; those
// of Python are in from-python.md, too.
func TestMetrics(t *testing.T) {
	measured, err := harness.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	sent := metricNames(read(t, "internal/metrics/metrics.go"))
	documented, documentedSent := map[string]bool{}, []string{}
	for _, row := range rows(section(t, "docs/operations.md", "Metrics")) {
		names := metricNames(row[0])
		if len(names) != 1 || len(row) != 4 {
			t.Errorf("operations.md: row %q", row)
			continue
		}
		labels, known := measured[names[0]]
		if !known || documented[names[0]] {
			t.Errorf("operations.md has %s, which does not exist, or twice", names[0])
		}
		documented[names[0]] = true
		var want []string
		for _, match := range code.FindAllStringSubmatch(row[1], -1) {
			want = append(want, match[1])
		}
		if !slices.Equal(labels, want) {
			t.Errorf("%s has the labels %q, operations.md says %q", names[0], labels, want)
		}
		if strings.HasPrefix(row[2], "same") {
			documentedSent = append(documentedSent, names[0])
		}
		documentedSent = append(documentedSent, metricNames(row[2])...)
	}
	for name := range measured {
		if !documented[name] {
			t.Errorf("operations.md lacks %s", name)
		}
	}
	slices.Sort(documentedSent)
	if documentedSent = slices.Compact(documentedSent); len(sent) < 15 || !slices.Equal(sent, documentedSent) {
		t.Errorf("statsd gets\n%q\noperations.md has\n%q", sent, documentedSent)
	}
	var ofPython []string
	for _, row := range rows(section(t, "docs/from-python.md", "Metrics")) {
		ofPython = append(ofPython, metricNames(row[0])...)
	}
	slices.Sort(ofPython)
	if want := slices.DeleteFunc(slices.Clone(sent), func(name string) bool { return !strings.HasPrefix(name, "swh_") }); !slices.Equal(ofPython, want) {
		t.Errorf("statsd gets of Python's metrics\n%q\nfrom-python.md has\n%q", want, ofPython)
	}
	// What README alerts on has one name everywhere.
	alerts := metricNames(section(t, "README.md", "Alert on"))
	for _, metric := range alerts {
		if !slices.Contains(sent, metric) || !documented[metric] {
			t.Errorf("README.md: %s is not a metric of both statsd and Prometheus", metric)
		}
	}
	if len(alerts) < 3 {
		t.Errorf("README.md alerts on %q", alerts)
	}
}

// TestLibraries looks for each direct requirement of go.mod in ADR 1.
func TestLibraries(t *testing.T) {
	decision := read(t, "docs/adr/0001-libraries.md")
	required := regexp.MustCompile(`(?m)^\t(?:github\.com/)?(\S+?)(?:/v\d+)? v\S+$`).FindAllStringSubmatch(read(t, "go.mod"), -1)
	for _, match := range required {
		if !strings.Contains(decision, match[1]) {
			t.Errorf("ADR 1 does not name %s", match[1])
		}
	}
	if len(required) < 10 {
		t.Errorf("found only %d requirements", len(required))
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// listed returns the packages of the module that are not only tests.
func listed(t *testing.T) (packages []goPackage) {
	t.Helper()
	cmd := exec.Command("go", "list", "-tags", "pacific", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

// TestImports compares the package table of ARCHITECTURE with the imports.
func TestImports(t *testing.T) {
	quoted := regexp.MustCompile("`([^`]+)`")
	imports := map[string][]string{} // by package, without "winery/"
	for _, p := range listed(t) {
		var ours []string
		for _, path := range p.Imports {
			if path, found := strings.CutPrefix(path, "winery/"); found {
				ours = append(ours, path)
			}
		}
		imports[strings.TrimPrefix(p.ImportPath, "winery/")] = ours
	}
	seen := map[string]bool{}
	for _, row := range rows(section(t, "ARCHITECTURE.md", "Packages")) {
		for _, match := range quoted.FindAllStringSubmatch(row[0], -1) {
			pattern := strings.TrimSuffix(match[1], "/")
			var packages []string
			for path := range imports {
				if ok, _ := filepath.Match(pattern, path); ok {
					packages = append(packages, path)
				}
			}
			if len(packages) == 0 {
				t.Errorf("there is no package %s", pattern)
			}
			for _, path := range packages {
				seen[path] = true
				if len(row) == 2 || row[2] == "anything" {
					continue
				}
				var allowed []string
				for _, name := range quoted.FindAllStringSubmatch(row[2], -1) {
					allowed = append(allowed, name[1])
				}
				slices.Sort(allowed)
				if got := slices.Sorted(slices.Values(imports[path])); !slices.Equal(got, allowed) {
					t.Errorf("%s imports %q, ARCHITECTURE.md says %q", path, got, allowed)
				}
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(imports)) {
		if !seen[path] {
			t.Errorf("package %s is not in the table of ARCHITECTURE.md", path)
		}
	}
}

// TestArrows has golangci-lint's depguard refuse each import that ARCHITECTURE
// says depguard refuses: the rule must name the package.
func TestArrows(t *testing.T) {
	lint := read(t, ".golangci.yml")
	rule := func(name string) string {
		_, text, found := strings.Cut(lint, "\n        "+name+":\n")
		if !found {
			t.Errorf(".golangci.yml has no rule %s", name)
		}
		return regexp.MustCompile(`(?m)^ {8}\S`).Split(text, 2)[0]
	}
	for name, packages := range map[string][]string{
		"pgx":        {"github.com/jackc/pgx"},
		"prometheus": {"github.com/prometheus"},
		"ceph":       {"github.com/ceph/go-ceph"},
		"formats":    {"winery/shard$", "winery/mosaic$"},
		"leaves":     {"winery/internal", "winery/sharedbase", "winery/shard", "winery/mosaic", "winery/rbd"},
		"roles":      {"winery/internal/writer", "winery/internal/packer", "winery/internal/mapper", "winery/internal/cleaner"},
		"tests":      {"winery/test"},
	} {
		for _, path := range packages {
			if !regexp.MustCompile(`(?m)- pkg: ` + regexp.QuoteMeta(path) + `$`).MatchString(rule(name)) {
				t.Errorf(".golangci.yml: rule %s does not name %s", name, path)
			}
		}
	}
}

// TestUnits: each man page that a unit names is that of a program.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob(filepath.Join(root, "systemd/winery*"))
	if err != nil || len(units) == 0 {
		t.Fatal(units, err)
	}
	page := regexp.MustCompile(`(?m)^Documentation=.*man:([a-z-]+)\((\d)\)`)
	named := map[string]bool{}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range page.FindAllStringSubmatch(string(text), -1) {
			named[match[1]] = true
			if programs(t)[match[1]] == nil || match[2] != "8" {
				t.Errorf("%s names a man page that does not exist: %s(%s)", unit, match[1], match[2])
			}
		}
	}
	if len(named) < 5 { // the roles, and wineryctl
		t.Errorf("the units name only the man pages %q", slices.Sorted(maps.Keys(named)))
	}
}

// notRun are the commands in README outside of the quick start (test/e2e runs the
// quick start), each with the reason why no test runs it; the files that it names
// must exist.
var notRun = map[string]string{
	"scripts/install-deps": "needs root and changes the machine",
	"apt":                  "needs root and changes the machine; packaging installs the package in a mount namespace",
	"make":                 "builds and tests everything; .ci/run runs make test",
	"install":              "needs root and changes the machine; packaging installs this file in a mount namespace",
	"editor":               "a person edits the file",
	"systemd-sysusers":     "needs root and changes the machine; packaging runs this line in a mount namespace",
	"runuser":              "needs root and the database of the production configuration; test/vm runs these commands",
	"wineryctl":            "needs the database of the production configuration; TestCommandLines checks the line",
	"systemctl":            "needs root and systemd; test/vm starts the units",
}

func TestReadmeCommands(t *testing.T) {
	target := regexp.MustCompile(`(?m)^[a-z-]+:`)
	targets := target.FindAllString(read(t, "Makefile"), -1)
	blocks := strings.Split(read(t, "README.md"), "\n```\n")
	checked := 0
	for i := 1; i < len(blocks); i += 2 {
		if strings.Contains(blocks[i], "──") || strings.Contains(blocks[i], "scripts/pg-up") {
			continue // the picture, and what TestQuickStart runs
		}
		if out, err := exec.Command("bash", "-n", "-c", blocks[i]).CombinedOutput(); err != nil {
			t.Errorf("%s\n%v: %s", blocks[i], err, out)
		}
		for line := range strings.Lines(blocks[i]) {
			line, _, _ = strings.Cut(line, " #")
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			checked++
			if notRun[words[0]] == "" {
				t.Errorf("README.md: no test runs %q", line)
			}
			if words[0] == "make" && !slices.Contains(targets, words[1]+":") {
				t.Errorf("README.md: there is no target for %q", line)
			}
			for _, word := range words {
				if found, err := filepath.Glob(filepath.Join(root, word)); regexp.MustCompile(`^(bin|scripts|systemd)/`).MatchString(word) && len(found) == 0 {
					t.Errorf("README.md: %q names %s, which does not exist (%v)", line, word, err)
				}
			}
			if words[0] == "systemctl" {
				for _, unit := range words[3:] {
					if name, instance, _ := strings.Cut(unit, "@"); instance != "" {
						unit = name + "@"
					}
					if !strings.Contains(unit, ".") {
						unit += ".service"
					}
					if _, err := os.Stat(filepath.Join(root, "systemd", unit)); err != nil {
						t.Errorf("README.md: %v", err)
					}
				}
			}
		}
	}
	if checked < 8 {
		t.Errorf("found only %d commands", checked)
	}
}
