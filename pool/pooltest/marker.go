// SPDX-License-Identifier: GPL-3.0-or-later

package pooltest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"winery/pool"
	"winery/test/expect"
)

func wantMarker(t *testing.T, p pool.Pool, want string) {
	t.Helper()
	got, err := p.Marker(t.Context())
	expect.NoError(t, err)
	if string(got) != want {
		t.Fatalf("the marker is %q, want %q", got, want)
	}
}

// marker: the marker is stored, kept, replaced only on request, and is not an
// image.
func marker(t *testing.T, p pool.Pool) {
	expect.NoError(t, p.Init(t.Context())) // the pool exists: nothing happens
	_, err := p.Marker(t.Context())
	wantErr(t, "Marker of a new pool", err, pool.ErrNoMarker)
	finished(t, p, "one", pattern(1, 1000))
	expect.NoError(t, p.SetMarker(t.Context(), []byte("a longer first"), false))
	wantErr(t, "a second SetMarker", p.SetMarker(t.Context(), []byte("second"), false), pool.ErrExists)
	wantMarker(t, p, "a longer first")
	expect.NoError(t, p.SetMarker(t.Context(), []byte("third"), true))
	wantMarker(t, p, "third")
	expect.NoError(t, p.Init(t.Context()))
	wantMarker(t, p, "third")
	wantList(t, p, "one")
	expect.NoError(t, p.Map(t.Context(), "one"))
	if mapped, err := p.Mapped(t.Context()); err != nil || len(mapped) != 1 {
		t.Errorf("mapped are %v, %v", mapped, err)
	}
}

// markerOnce: of many that store the first marker at once, one succeeds.
func markerOnce(t *testing.T, p pool.Pool) {
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = p.SetMarker(t.Context(), fmt.Appendf(nil, "marker %d", i), false) })
	}
	wg.Wait()
	won := slices.Index(errs, nil)
	for i, err := range errs {
		if i != won && !errors.Is(err, pool.ErrExists) {
			t.Errorf("SetMarker %d: %v", i, err)
		}
	}
	if won < 0 {
		t.Fatal("none succeeded")
	}
	wantMarker(t, p, fmt.Sprintf("marker %d", won))
}

// checkAccess: a pool of the test's own may be read and written, and the question
// leaves nothing behind.
func checkAccess(t *testing.T, p pool.Pool) {
	finished(t, p, "one", pattern(1, 1000))
	for _, write := range []bool{false, true} {
		expect.NoError(t, p.CheckAccess(t.Context(), write))
	}
	wantList(t, p, "one")
	wantContent(t, p, "one", pattern(1, 1000))
}
