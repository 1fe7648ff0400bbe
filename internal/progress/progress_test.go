// SPDX-License-Identifier: GPL-3.0-or-later

package progress

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestLines(t *testing.T) {
	for want, r := range map[string]Report{
		"packing i3f: 41 %, 212 MB/s":             {Task: "packing", Shard: "i3f", Done: 41, Total: 100, Rate: 212e6},
		"packing i3f: 41 %, 212 MB/s, 4m38s left": {Task: "packing", Shard: "i3f", Done: 41e9, Total: 100e9, Rate: 212e6},
		"packing i3f: 100 %, 1 MB/s":              {Task: "packing", Shard: "i3f", Done: 101, Total: 100, Rate: 1e6},
		"indexing i3f: at most 1m0s":              {Task: "indexing", Shard: "i3f", Limit: time.Minute},
		"mapping images: 3 of 5":                  {Task: "mapping images", Done: 3, Total: 5, Images: true},
		"mapping images: 0 of 0":                  {Task: "mapping images", Images: true},
		"verifying image i3f: 2 MB, 1 MB/s":       {Task: "verifying image", Shard: "i3f", Done: 2e6, Total: Unknown, Rate: 1e6},
		"erasing deleted objects of i3f":          {Task: "erasing deleted objects of", Shard: "i3f"},
		"verifying image i3f: 0 %, 0 MB/s":        {Task: "verifying image", Shard: "i3f", Total: 7},
		"verifying image i3f: 100 %, 5 MB/s":      {Task: "verifying image", Shard: "i3f", Done: 7, Total: 7, Rate: 5e6},
	} {
		if got := r.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Report
		m := Func(func(r Report) { got = append(got, r) }).NewMeter("packing", "i3f", 100)
		for range 10 { // a report each second, and one of the last byte
			time.Sleep(300 * time.Millisecond)
			m.Add(10)
		}
		done := []int64{10, 50, 90, 100}
		if !slices.EqualFunc(got, done, func(r Report, done int64) bool {
			return r.Done == done && r.Total == 100 && r.Shard == "i3f" && r.Rate > 32 && r.Rate < 35
		}) {
			t.Errorf("%+v", got)
		}
		m.Add(0)
		if len(got) != len(done) {
			t.Errorf("reported again within a second: %+v", got)
		}
	})
}

func TestNoReceiver(*testing.T) {
	Func(nil).Unmeasured("counting", "i3f", time.Minute)
	Func(nil).NewMeter("packing", "i3f", 1).Add(1)
}
