// SPDX-License-Identifier: GPL-3.0-or-later

package packaging_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"winery/test/expect"
)

const manual = "../dist/manual"

// TestManPages has mandoc and man read the man pages.
func TestManPages(t *testing.T) {
	for _, program := range programs {
		page := filepath.Join(manual, program+".8")
		// A paragraph is one long line, which mandoc reports as bad style.
		run(t, "mandoc", "-T", "lint", "-W", "warning", page)
		if warnings := run(t, "sh", "-c", `LC_ALL=C.UTF-8 man --warnings --local-file "$1" 2>&1 >/dev/null`, "sh", page); warnings != "" {
			t.Errorf("%s: %s", page, warnings)
		}
		text, err := os.ReadFile(page)
		expect.NoError(t, err)
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"} {
			if !strings.Contains(string(text), "\n.SH "+section+"\n") {
				t.Errorf("%s has no section %s", page, section)
			}
		}
		for _, match := range regexp.MustCompile(`\\fB([a-z-]+)\\fP\(8\)`).FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(programs, match[1]) {
				t.Errorf("%s refers to %s(8), which does not exist", page, match[1])
			}
		}
	}
}

// TestExitStatus: the man pages have the statuses that package daemon documents.
func TestExitStatus(t *testing.T) {
	doc, err := os.ReadFile("../internal/daemon/doc.go")
	expect.NoError(t, err)
	documented := numbers(string(doc), "# Exit status\n", `(?m)^//\t(\d+) `)
	for _, program := range programs {
		text, err := os.ReadFile(filepath.Join(manual, program+".8"))
		expect.NoError(t, err)
		if found := numbers(string(text), ".SH EXIT STATUS\n", `\\fB(\d+)\\fP`); len(found) < 5 || !slices.Equal(found, documented) {
			t.Errorf("%s(8) has the exit statuses %q, package daemon has %q", program, found, documented)
		}
	}
}

// numbers returns what matches a pattern's group in the section of text that begins
// with a heading.
func numbers(text, heading, pattern string) (found []string) {
	_, section, _ := strings.Cut(text, heading)
	section, _, _ = strings.Cut(section, "\n\n\n.SH ")
	section, _, _ = strings.Cut(section, "\n// # ")
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(section, -1) {
		found = append(found, match[1])
	}
	return found
}

// shells are the shells that complete: each runs complete in testdata, with the
// completions of a program and a line up to the cursor as arguments, and prints the
// proposals.
var shells = map[string]string{"bash": "bash", "zsh": "zsh -f", "fish": "fish --no-config"}

func TestCompletions(t *testing.T) {
	t.Parallel()
	for shell, command := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			canary := filepath.Join(t.TempDir(), "canary")
			for _, test := range []struct {
				line      string
				proposals []string // among others
				not       []string
			}{
				{"wineryctl d", []string{"db", "delete"}, []string{"pool", "init"}},
				{"wineryctl db ", []string{"init", "upgrade", "version"}, []string{"db", "adopt"}},
				{"wineryctl --config x db ", []string{"init", "upgrade", "version"}, []string{"adopt"}},
				{"wineryctl db upgrade --", []string{"--pool-name", "--dry-run", "--config", "--url"}, []string{"--sample"}},
				{"wineryctl shards list --", []string{"--state", "--long", "--output"}, []string{"--force"}},
				{"winery-packer --p", []string{"--pool-name"}, []string{"--config"}},
				{"winery-writer --", []string{"--listen", "--log-level", "--version"}, nil},
				// A completion runs nothing of the line.
				{"wineryctl delete -- $(touch " + canary + ") ", nil, []string{"db"}},
				{"wineryctl get x -o `touch " + canary + "` -", []string{"-o"}, nil},
			} {
				program, _, _ := strings.Cut(test.line, " ")
				args := append(strings.Fields(command), "testdata/complete."+shell, filepath.Join(manual, program+"."+shell), test.line)
				found := strings.Fields(run(t, args[0], args[1:]...))
				for _, want := range test.proposals {
					if !slices.Contains(found, want) {
						t.Errorf("%q: %q is not among %q", test.line, want, found)
					}
				}
				for _, other := range test.not {
					if slices.Contains(found, other) {
						t.Errorf("%q: %q is among %q", test.line, other, found)
					}
				}
			}
			if _, err := os.Stat(canary); err == nil {
				t.Error("a completion ran a command of the line")
			}
		})
	}
}
