// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"winery/format"
	"winery/shard/internal/cmphtest"
)

func keys(n int, salt string) []format.ObjID {
	ids := make([]format.ObjID, n)
	for i := range ids {
		ids[i] = sha256.Sum256(fmt.Appendf(nil, "%s %d", salt, i))
	}
	return ids
}

func newTestTable(t testing.TB, ids []format.ObjID) *table {
	t.Helper()
	tab := &table{}
	t.Cleanup(tab.Free)
	for i, id := range ids {
		if err := tab.Append(newEntry(id, uint64(i))); err != nil {
			t.Fatal(err)
		}
	}
	return tab
}

// sameSlots compares our evaluation of a dump with libcmph's.
func sameSlots(t *testing.T, dump []byte, ids []format.ObjID) {
	t.Helper()
	h, err := parseHash(dump)
	if err != nil {
		t.Fatal(err)
	}
	want, err := cmphtest.Slots(dump, ids)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ids {
		if got := h.slot(&ids[i]); got != want[i] {
			t.Fatalf("key %d: slot %d, libcmph says %d", i, got, want[i])
		}
	}
}

func TestHashIsLibcmphs(t *testing.T) {
	sizes := []int{0, 1, 2, 3, 4, 5, 40, 127, 128, 129, 508, 511, 512, 1000, 1024, 20000, 100000, 300000}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			ids := keys(n, "key")
			tab := newTestTable(t, ids)
			dump, err := tab.index()
			if err != nil {
				t.Fatal(err)
			}
			sameSlots(t, dump, ids)
			sameSlots(t, dump, keys(1000, "no key"))

			h, _ := parseHash(dump)
			if len(tab.Entries) != int(h.slots) {
				t.Fatalf("%d entries for %d slots", len(tab.Entries), h.slots)
			}
			for i, id := range ids {
				if e := tab.Entries[h.slot(&id)]; e != newEntry(id, uint64(i)) {
					t.Fatalf("slot of key %d holds %x", i, e)
				}
			}
			free := 0
			for _, e := range tab.Entries {
				if e == unused {
					free++
				}
			}
			if free != len(tab.Entries)-n {
				t.Fatalf("%d unused slots of %d for %d keys", free, len(tab.Entries), n)
			}
		})
	}
}

// Every size up to some hundreds builds: the last bucket of a small set has
// few slots to try.
func TestHashOfEverySmallSize(t *testing.T) {
	all := keys(700, "small")
	for n := range all {
		tab := newTestTable(t, all[:n])
		dump, err := tab.index()
		if err != nil {
			t.Fatalf("%d keys: %v", n, err)
		}
		sameSlots(t, dump, all[:n])
		tab.Free()
	}
}

// For one pair of keys in 10,000 libcmph has no function.
func TestHashOfPairs(t *testing.T) {
	tab := newTestTable(t, keys(2, "room"))
	all := keys(200_000, "pair")
	for i := 0; i < len(all); i += 2 {
		tab.Entries = append(tab.Entries[:0], newEntry(all[i], 600), newEntry(all[i+1], 700))
		if _, err := tab.index(); err != nil {
			t.Fatalf("keys %d: %v", i, err)
		}
	}
}

func TestDuplicateKeys(t *testing.T) {
	ids := keys(50000, "key")
	tab := newTestTable(t, append(ids, ids[777]))
	_, err := tab.index()
	if !errors.Is(err, format.ErrDuplicate) || !bytes.Contains([]byte(err.Error()), fmt.Appendf(nil, "%x", ids[777])) {
		t.Fatalf("got %v", err)
	}
}

// A dump with any one bit flipped is refused, or still evaluates within its
// slots.
func TestDamagedHash(t *testing.T) {
	ids := keys(3000, "key")
	dump, err := newTestTable(t, ids).index()
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for bit := range len(dump) * 8 {
		d := bytes.Clone(dump)
		d[bit/8] ^= 1 << (bit % 8)
		h, err := parseHash(d)
		if err != nil {
			refused++
			continue
		}
		for i := range ids[:200] {
			if s := h.slot(&ids[i]); s < 0 || s >= int64(h.slots) {
				t.Fatalf("bit %d: slot %d of %d", bit, s, h.slots)
			}
		}
	}
	if refused == 0 {
		t.Fatal("no flip was noticed")
	}
	for n := range len(dump) {
		if _, err := parseHash(dump[:n]); err == nil {
			t.Fatalf("accepted with only %d of %d bytes", n, len(dump))
		}
	}
}

// FuzzHash takes any bytes for a dump. It is refused, or gives every key the
// slot that libcmph gives it.
func FuzzHash(f *testing.F) {
	for _, n := range []int{1, 40, 700} {
		dump, err := newTestTable(f, keys(n, "key")).index()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(dump, "key")
	}
	f.Fuzz(func(t *testing.T, dump []byte, salt string) {
		h, err := parseHash(bytes.Clone(dump))
		if err != nil {
			return
		}
		ids := keys(50, salt)
		for i := range ids {
			if s := h.slot(&ids[i]); s < 0 || s >= int64(h.slots) {
				t.Fatalf("slot %d of %d", s, h.slots)
			}
		}
		sameSlots(t, dump, ids)
	})
}

func BenchmarkSlot(b *testing.B) {
	for _, n := range []int{1000, 1000000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ids := keys(n, "key")
			dump, err := newTestTable(b, ids).index()
			if err != nil {
				b.Fatal(err)
			}
			h, err := parseHash(dump)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				h.slot(&ids[i%n])
			}
		})
	}
}

// What a lookup would cost if libcmph did it, in a cgo call each.
func BenchmarkSlotLibcmph(b *testing.B) {
	ids := keys(1000, "key")
	dump, err := newTestTable(b, ids).index()
	if err != nil {
		b.Fatal(err)
	}
	many := make([]format.ObjID, 0, b.N)
	for len(many) < b.N {
		many = append(many, ids[:min(len(ids), b.N-len(many))]...)
	}
	b.ResetTimer()
	if _, err := cmphtest.Slots(dump, many); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkIndex(b *testing.B) {
	ids := keys(1000000, "key")
	for b.Loop() {
		tab := newTestTable(b, ids)
		if _, err := tab.index(); err != nil {
			b.Fatal(err)
		}
		tab.Free()
	}
}
