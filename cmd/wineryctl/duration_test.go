// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"48h": 48 * time.Hour, "2d": 2 * day, "90m": 90 * time.Minute, "1 week 2 days": 9 * day, "1w2d3h4m5s": 9*day + 3*time.Hour + 4*time.Minute + 5*time.Second,
		" 10 seconds ": 10 * time.Second, "1 minute": time.Minute, "2hours30minutes": 150 * time.Minute, "1y": 365 * day, "0s": 0,
	} {
		d := duration(time.Nanosecond)
		if err := d.Set(text); err != nil || time.Duration(d) != want {
			t.Errorf("%q: %v, %v, want %v", text, time.Duration(d), err, want)
		}
	}
	for _, text := range []string{"", " ", "48", "h", "-1h", "1.5h", "1h 1d", "1d x", "2 fortnights", "1hour2", "300y", "99999999999999999999s"} {
		d := duration(time.Second)
		if err := d.Set(text); err == nil || time.Duration(d) != time.Second {
			t.Errorf("%q was taken for %v, %v", text, time.Duration(d), err)
		}
	}
}
