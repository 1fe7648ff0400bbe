// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"maps"
	"slices"
	"testing"

	"winery/pool/pooltest"
	"winery/test/cephtest"
	"winery/test/expect"
)

func TestImageIDs(t *testing.T) {
	t.Parallel()
	s := settings(cephtest.New(t))
	s.MapMode = ""
	p := open(t, s)
	ids, err := p.ImageIDs(t.Context(), "")
	expect.NoError(t, err)
	if len(ids) != 0 {
		t.Errorf("an empty pool has %v", ids)
	}

	s.MapMode = "librbd" // for this host's kernel maps nothing
	librbd := open(t, s)
	t.Cleanup(func() { removeAll(t, librbd) })
	names := []string{"one", "one-more", "two"}
	for _, name := range names {
		expect.NoError(t, librbd.Reserve(t.Context(), name))
	}
	ids, err = p.ImageIDs(t.Context(), "")
	expect.NoError(t, err)
	if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, names) || ids["one"] == "" || ids["one"] == ids["two"] {
		t.Errorf("the ids are %v", ids)
	}
	one, err := p.ImageIDs(t.Context(), "one")
	expect.NoError(t, err)
	if len(one) != 2 || one["one"] != ids["one"] {
		t.Errorf("of those that begin with one the ids are %v", one)
	}

	expect.NoError(t, librbd.Remove(t.Context(), "one", pooltest.Anything{}))
	expect.NoError(t, librbd.Reserve(t.Context(), "one"))
	again, err := p.ImageIDs(t.Context(), "one")
	expect.NoError(t, err)
	if again["one"] == "" || again["one"] == ids["one"] {
		t.Errorf("made again, the image has the id %q, before it had %q", again["one"], ids["one"])
	}
}
