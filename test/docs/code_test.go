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
)

// TestMetrics compares the names in internal/metrics with the tables of metrics:
// those that begin with winery_ are in operations.md, Python's in from-python.md.
func TestMetrics(t *testing.T) {
	name := regexp.MustCompile("[\"`]((?:swh|winery)_[a-z_]+)[\"`]")
	names := func(text string) (names []string) {
		for _, match := range name.FindAllStringSubmatch(text, -1) {
			names = append(names, match[1])
		}
		slices.Sort(names)
		return names
	}
	code := names(read(t, "internal/metrics/metrics.go"))
	var documented []string
	for path, prefix := range map[string]string{"docs/operations.md": "winery_", "docs/from-python.md": "swh_"} {
		for _, row := range rows(section(t, path, "Metrics")) {
			for _, metric := range names(row[0]) {
				if !strings.HasPrefix(metric, prefix) {
					t.Errorf("%s has %s, which is not one of %s", path, metric, prefix)
				}
				documented = append(documented, metric)
			}
		}
	}
	slices.Sort(documented)
	if len(code) < 15 || !slices.Equal(code, documented) {
		t.Errorf("metrics of the code:\n%q\nof the documents:\n%q", code, documented)
	}
	for _, metric := range names(section(t, "README.md", "Alert on")) {
		if !slices.Contains(code, metric) {
			t.Errorf("README.md: there is no metric %s", metric)
		}
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
		"pgx":     {"github.com/jackc/pgx"},
		"ceph":    {"github.com/ceph/go-ceph"},
		"formats": {"winery/shard$"},
		"leaves":  {"winery/internal", "winery/sharedbase", "winery/shard", "winery/rbd"},
		"roles":   {"winery/internal/writer", "winery/internal/packer", "winery/internal/mapper", "winery/internal/cleaner"},
		"tests":   {"winery/test"},
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
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range page.FindAllStringSubmatch(string(text), -1) {
			if programs(t)[match[1]] == nil || match[2] != "8" {
				t.Errorf("%s names a man page that does not exist: %s(%s)", unit, match[1], match[2])
			}
		}
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
