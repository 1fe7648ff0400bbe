// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"winery/format"
	"winery/test/expect"
)

// numbered are entries with as many different keys.
func numbered(n int) []entry {
	entries := make([]entry, n)
	for i := range entries {
		entries[i] = entry{id: sha256.Sum256(fmt.Append(nil, i)), position: int64(i)}
	}
	return entries
}

// pythonsKeys are those of the 40 objects in testdata.
func pythonsKeys() []entry {
	entries := []entry{{id: sha256.Sum256(nil)}, {id: sha256.Sum256([]byte("a"))}}
	for i := range 38 {
		entries = append(entries, entry{id: sha256.Sum256([]byte(strings.Repeat(fmt.Sprintf("object %d ", i+1), 7*(i+1))))})
	}
	return entries
}

// TestHashIsPythons: the function is the one that the Rust crate ph makes of these
// keys, byte for byte, in whatever order they come.
func TestHashIsPythons(t *testing.T) {
	for name, entries := range map[string][]entry{"0": nil, "40-none": pythonsKeys(), "40-zstd3-one-deleted": pythonsKeys(), "40-dict": pythonsKeys()} {
		image, err := os.ReadFile("testdata/python-" + name + ".mosaic")
		expect.NoError(t, err)
		for range 2 {
			b, err := buildHash(entries)
			expect.NoError(t, err)
			want := appendElement(nil, idMap, b)
			if !bytes.HasSuffix(image, want) {
				t.Errorf("%s: the image ends with %x, instead of %x", name, image[len(image)-len(want):], want)
			}
			slices.Reverse(entries)
		}
	}
}

// Each key has a slot of its own, which no rounding of a level's or a word's size
// disturbs.
func TestHashIsMinimal(t *testing.T) {
	for _, n := range []int{0, 1, 2, 15, 16, 17, 63, 64, 65, 1000, 50_000} {
		entries := numbered(n)
		b, err := buildHash(entries)
		expect.NoError(t, err)
		h, err := parseHash(b)
		expect.NoError(t, err)
		if h.slots != int64(n) {
			t.Fatalf("%d slots for %d keys", h.slots, n)
		}
		taken := make([]bool, n)
		for i := range entries {
			slot, ok := h.slot(&entries[i].id)
			if !ok || taken[slot] {
				t.Fatalf("%d keys: key %d has slot %d, %v, which is taken", n, i, slot, ok)
			}
			taken[slot] = true
		}
		if n == 50_000 && len(b)*8 > n*23/10 {
			t.Errorf("%d bytes for %d keys", len(b), n)
		}
	}
}

// TestHashParses: a function that is cut off or has other sizes is refused, and whatever
// is accepted can be asked for any key.
func TestHashParses(t *testing.T) {
	whole, err := buildHash(numbered(300))
	expect.NoError(t, err)
	for n := range whole {
		if _, err := parseHash(whole[:n]); err == nil {
			t.Errorf("%d bytes of %d were accepted", n, len(whole))
		}
	}
	accepted := 0
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		h, err := parseHash(b)
		if err != nil {
			continue
		}
		accepted++
		for i := range 50 {
			id := format.ObjID{byte(i)}
			if slot, ok := h.slot(&id); ok && (slot < 0 || slot >= h.slots) {
				t.Fatalf("bit %d: slot %d of %d", bit, slot, h.slots)
			}
		}
	}
	if accepted < 400 {
		t.Errorf("only %d changes were accepted", accepted)
	}
}

// TestEqualKeys: there is no function over them, and looking for one ends.
func TestEqualKeys(t *testing.T) {
	if _, err := buildHash(append(numbered(5), numbered(5)...)); err == nil {
		t.Error("a function was built")
	}
}
