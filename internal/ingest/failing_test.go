// SPDX-License-Identifier: GPL-3.0-or-later

package ingest

import (
	"errors"
	"log/slog"
	"testing"

	"winery/test/expect"
)

// TestFailureOfOneLane: a lane that can write again does not hide that another cannot.
func TestFailureOfOneLane(t *testing.T) {
	w := New(Options{Writers: 2, Log: slog.New(slog.DiscardHandler)})
	defer w.cancel()
	first, second := w.all[0], w.all[1]
	broken := errors.New("the shard cannot be locked")
	first.failing(errors.New("the database does not answer"), 0)
	second.failing(broken, 0)
	expect.NoError(t, first.recover(t.Context(), nil))
	if err := w.Failure(); !errors.Is(err, broken) {
		t.Errorf("one lane cannot write: %v", err)
	}
	expect.NoError(t, second.recover(t.Context(), nil))
	if err := w.Failure(); err != nil {
		t.Errorf("all lanes can write: %v", err)
	}
}
