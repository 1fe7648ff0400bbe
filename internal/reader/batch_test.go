// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"winery/sharedbase"
	"winery/test/expect"
)

// TestLookupsOfLargeBatch: the lookup of another client waits for a small part of a batch.
func TestLookupsOfLargeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		other, before, lookedUp := sharedbase.ObjID{1}, 0, 0
		r := &Reader{index: newCoalescer(newDepth(1, 1), maxIDs, func(_ context.Context, _ struct{}, ids []sharedbase.ObjID) ([]answer[sharedbase.Location], error) {
			<-goOn
			if slices.Contains(ids, other) {
				before = lookedUp
			}
			lookedUp += len(ids)
			return make([]answer[sharedbase.Location], len(ids)), nil
		})}
		batch := make([]sharedbase.ObjID, 100*lookupsTogether+1)
		done := make(chan error, 2)
		go func() {
			at, err := r.locateAll(t.Context(), batch, make([]Found, len(batch)))
			if len(at) != len(batch) {
				t.Errorf("%d of %d objects were looked up", len(at), len(batch))
			}
			done <- err
		}()
		synctest.Wait()
		go func() {
			_, err := r.locate(t.Context(), other)
			done <- err
		}()
		synctest.Wait()
		close(goOn)
		expect.NoError(t, <-done)
		expect.NoError(t, <-done)
		if before > partsWaiting*lookupsTogether {
			t.Errorf("the other client waited for %d objects", before)
		}
	})
}
