// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"winery/internal/progress"
)

// TestLineAMinute: where standard error is no terminal, a long task prints a line a
// minute, and a short one none.
func TestLineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := &bar{out: &out, printed: time.Now()}
		m := progress.Func(b.show).NewMeter("copying", "i3f", 300)
		for range 150 {
			time.Sleep(time.Second)
			m.Add(2)
		}
		if want := "copying i3f: 40 %, 0 MB/s, 1m30s left\ncopying i3f: 80 %, 0 MB/s, 30s left\n"; out.String() != want {
			t.Errorf("printed %q, want %q", out.String(), want)
		}
		b.hidden = true
		time.Sleep(time.Hour)
		b.show(progress.Report{Task: "copying"})
		if strings.Count(out.String(), "\n") != 2 {
			t.Errorf("hidden, and printed %q", out.String())
		}
	})
}
