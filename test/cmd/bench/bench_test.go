// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"winery/test/expect"
)

// TestBench takes every measurement once, for a moment.
func TestBench(t *testing.T) {
	var out strings.Builder
	profiles := t.TempDir()
	b := &bench{
		rounds: 1, time: 200 * time.Millisecond, inImages: 500, toPack: 500, tinyToPack: 1000, indexRows: []int{5000, 10_000}, walFiles: 2, root: "../../..",
		profiles: profiles,
		python:   os.Getenv("WINERY_PYTHON"), workers: 1, report: report{out: &out},
	}
	expect.NoError(t, b.run(t.Context(), parts))
	t.Logf("\n%s", &out)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	const heading, rows, columns = 2, 22 + 1 + 2*2*4, 12 // with an empty column at each side
	if len(lines) != heading+rows {
		t.Errorf("%d rows, want %d", len(lines)-heading, rows)
	}
	if made, err := filepath.Glob(filepath.Join(profiles, "*.pprof")); err != nil || len(made) != 10 {
		t.Errorf("profiles %q, %v", made, err)
	}
	for _, line := range lines {
		if strings.Count(line, "|") != columns-1 || strings.Contains(line, "NaN") || strings.Contains(line, "Inf") {
			t.Errorf("not a line of the table: %s", line)
		}
	}
}
