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

// table is the index in memory. A writer gathers the entries in it, hashes its keys
// and turns it into the index in place.
type table struct{ format.Table[entry] }

// index builds a hash function over the keys, and puts each entry in its key's
// slot. It returns the function as the image has it.
func (t *table) index() ([]byte, error) {
	slices.SortFunc(t.Entries, func(a, b entry) int { return bytes.Compare(a.id[:], b.id[:]) })
	for i := 1; i < len(t.Entries); i++ {
		if id := t.Entries[i].id; id == t.Entries[i-1].id {
			return nil, fmt.Errorf("%w: %x", format.ErrDuplicate, id)
		}
	}
	b, err := buildHash(t.Entries)
	if err != nil {
		return nil, err
	}
	h, err := parseHash(b)
	if err != nil {
		return nil, fmt.Errorf("an unusable hash function was built: %w", err)
	}
	if h.slots != int64(len(t.Entries)) {
		return nil, fmt.Errorf("a hash function with %d slots was built for %d keys", h.slots, len(t.Entries))
	}
	return b, t.place(h)
}

// place permutes the entries along the cycles of the hash function.
func (t *table) place(h *hash) error {
	for i := range t.Entries {
		for {
			e := &t.Entries[i]
			slot, ok := h.slot(&e.id)
			if slot == int64(i) && ok {
				break
			}
			other := &t.Entries[slot]
			if taken, _ := h.slot(&other.id); !ok || taken == slot {
				return errors.New("the hash function gave two keys one slot")
			}
			*e, *other = *other, *e
		}
	}
	return nil
}

func (t *table) sortByPosition() {
	slices.SortFunc(t.Entries, func(a, b entry) int { return cmp.Compare(a.position, b.position) })
}
