// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"winery/sharedbase"
)

// TestLoopStatus: the status says what a role waits for, and since when it fails.
func TestLoopStatus(t *testing.T) {
	refused := fmt.Errorf("%w: connection refused", sharedbase.ErrUnavailable)
	synctest.Test(t, func(t *testing.T) {
		notify := newNotifier(slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		failures := []error{nil, refused, refused, errors.New("disk full"), nil, refused}
		var statuses []string
		step := func(context.Context) (bool, error) {
			statuses = append(statuses, notify.lastStatus())
			time.Sleep(2 * time.Minute)
			if len(statuses) > len(failures) {
				cancel()
				return false, nil
			}
			return false, failures[len(statuses)-1]
		}
		began := time.Now()
		clock := func(after time.Duration) string { return began.Add(after).Local().Format("15:04 MST") }
		if err := Loop(ctx, LoopOptions{Log: slog.New(slog.DiscardHandler), Notify: notify, WaitsFor: "full shards"}, step); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{
			"starting",
			"waiting for full shards",
			"waiting for the database since " + clock(4*time.Minute) + ": the database is unavailable: connection refused",
			"waiting for the database since " + clock(4*time.Minute) + ": the database is unavailable: connection refused",
			"failing since " + clock(4*time.Minute) + ", retry in 4s: disk full",
			"waiting for full shards",
			"waiting for the database since " + clock(12*time.Minute) + ": the database is unavailable: connection refused",
		} {
			if !strings.HasPrefix(statuses[i], want) {
				t.Errorf("status %d is %q, want %q", i, statuses[i], want)
			}
		}
	})
}

// A time of another day has its date, and each has its zone.
func TestClock(t *testing.T) {
	local := time.Local
	defer func() { time.Local = local }()
	time.Local = time.FixedZone("NPT", (5*60+45)*60)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		today := clock(began)
		if want := began.Local().Format("15:04") + " NPT"; today != want {
			t.Errorf("%q, want %q", today, want)
		}
		time.Sleep(24 * time.Hour)
		if later := clock(began); later != began.Local().Format("2006-01-02 ")+today {
			t.Errorf("%q, and a day later %q", today, later)
		}
	})
}

// TestServingStatus: a writer says since when it cannot add, and its heartbeats that
// it fails.
func TestServingStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notify := newNotifier(slog.New(slog.DiscardHandler))
		since := clock(time.Now())
		for _, c := range []struct {
			failure error
			status  string
		}{
			{nil, "serving on [::1]:5003"},
			{sharedbase.ErrFull, "adds on [::1]:5003 fail since " + since + ": the database's disk is full"},
			{sharedbase.ErrUnavailable, "adds on [::1]:5003 fail since " + since + ": the database is unavailable"},
			{nil, "serving on [::1]:5003"},
		} {
			notify.Serving("[::1]:5003", c.failure)
			if status, failing := notify.condition(); status != c.status || failing != (c.failure != nil) {
				t.Errorf("%q, failing %v; want %q", status, failing, c.status)
			}
			if c.failure != nil {
				time.Sleep(time.Minute)
			}
		}
	})
}
