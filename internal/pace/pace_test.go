// SPDX-License-Identifier: GPL-3.0-or-later

package pace_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"winery/internal/pace"
)

// TestReader: what is read takes its time, all readers of a rate together, and ends with
// the context.
func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		limit := pace.NewRate(4 << 20)
		began, content := time.Now(), make([]byte, 12<<20)
		for range 2 {
			got := make([]byte, len(content))
			if n, err := pace.Reader(ctx, bytes.NewReader(content), limit).ReadAt(got, 0); n != len(content) || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		}
		if took := time.Since(began).Round(time.Second); took != 5*time.Second { // the first 4 MiB are free
			t.Errorf("24 MiB took %v at 4 MiB/s", took)
		}
		began = time.Now()
		if got, err := io.ReadAll(pace.Stream(ctx, bytes.NewReader(content), limit)); len(got) != len(content) || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if took := time.Since(began).Round(time.Second); took != 3*time.Second {
			t.Errorf("a stream of 12 MiB took %v at 4 MiB/s", took)
		}
		cancel()
		if _, err := io.ReadAll(pace.Stream(ctx, bytes.NewReader(content), limit)); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
		if _, err := pace.Reader(ctx, bytes.NewReader(content), limit).ReadAt(make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
		if err := pace.Wait(t.Context(), pace.NewRate(0), 1<<40); err != nil {
			t.Errorf("without a limit: %v", err)
		}
	})
}
