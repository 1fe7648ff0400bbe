// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"winery/format"
)

// entry is an entry of the index in memory.
type entry struct {
	id       format.ObjID
	position int64 // of the object's element; 0 for none
}

// table is a list of index entries outside Go's heap. A writer gathers the entries
// in it, hashes its keys and turns it into the index in place.
type table struct {
	entries []entry
}

func newTable() *table { return &table{} }

func (t *table) append(e entry) error {
	if n := len(t.entries); n == cap(t.entries) {
		if err := t.reserve(n + n/4 + 1024); err != nil {
			return err
		}
	}
	t.entries = append(t.entries, e)
	return nil
}

// reserve sets the capacity.
func (t *table) reserve(n int) error {
	room, err := format.Reallocate(t.entries[:cap(t.entries)], n)
	if err != nil {
		return err
	}
	t.entries = room[:len(t.entries)]
	return nil
}

func (t *table) free() {
	_, _ = format.Reallocate(t.entries[:cap(t.entries)], 0)
	t.entries = nil
}

// index builds a hash function over the keys, and puts each entry in its key's
// slot. It returns the function as the image has it.
func (t *table) index() ([]byte, error) {
	slices.SortFunc(t.entries, func(a, b entry) int { return bytes.Compare(a.id[:], b.id[:]) })
	for i := 1; i < len(t.entries); i++ {
		if id := t.entries[i].id; id == t.entries[i-1].id {
			return nil, fmt.Errorf("%w: %x", format.ErrDuplicate, id)
		}
	}
	b, err := buildHash(t.entries)
	if err != nil {
		return nil, err
	}
	h, err := parseHash(b)
	if err != nil {
		return nil, fmt.Errorf("an unusable hash function was built: %w", err)
	}
	if h.slots != int64(len(t.entries)) {
		return nil, fmt.Errorf("a hash function with %d slots was built for %d keys", h.slots, len(t.entries))
	}
	return b, t.place(h)
}

// place permutes the entries along the cycles of the hash function.
func (t *table) place(h *hash) error {
	for i := range t.entries {
		for {
			e := &t.entries[i]
			slot, ok := h.slot(&e.id)
			if slot == int64(i) && ok {
				break
			}
			other := &t.entries[slot]
			if taken, _ := h.slot(&other.id); !ok || taken == slot {
				return errors.New("the hash function gave two keys one slot")
			}
			*e, *other = *other, *e
		}
	}
	return nil
}

func (t *table) sortByPosition() {
	slices.SortFunc(t.entries, func(a, b entry) int { return cmp.Compare(a.position, b.position) })
}
