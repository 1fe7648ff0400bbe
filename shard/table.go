// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"bytes"
	"fmt"
	"slices"

	"winery/format"
)

// table is the index in memory. A writer gathers the entries in it, hashes its keys
// and turns it into the index in place.
type table struct{ format.Table[entry] }

// index builds a hash function over the keys, puts each entry in its key's
// slot, and returns the function's dump.
func (t *table) index() ([]byte, error) {
	// libcmph would make a thousand attempts with two equal keys before it fails.
	t.sortByKey()
	for i := 1; i < len(t.Entries); i++ {
		if id := t.Entries[i].key(); id == t.Entries[i-1].key() {
			return nil, fmt.Errorf("%w: %x", format.ErrDuplicate, id)
		}
	}
	dump, err := t.hash()
	if err != nil {
		return nil, err
	}
	h, err := parseHash(dump)
	if err != nil {
		return nil, fmt.Errorf("libcmph made an unusable hash function: %w", err)
	}
	return dump, t.place(h)
}

// hash builds a function over the keys. There is none over no keys, and libcmph
// finds none for one pair of keys in 10,000, as it tries few seeds on small
// sets: keys that no object has are added then, for the function alone.
func (t *table) hash() ([]byte, error) {
	n := len(t.Entries)
	defer func() { t.Entries = t.Entries[:n] }()
	for extra := range byte(4) {
		if len(t.Entries) > 0 {
			if dump := buildHash(t.Entries); dump != nil {
				return dump, nil
			}
		}
		if err := t.Append(newEntry(format.ObjID{keySize - 1: extra + 1}, 0)); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("libcmph found no hash function for %d keys", n)
}

// place permutes the entries along the cycles of the hash function. The top
// bit of a position, which no device reaches, marks an entry that is in place.
func (t *table) place(h *hash) error {
	const placed = 0x80
	if err := t.Reserve(int(h.slots)); err != nil {
		return err
	}
	for len(t.Entries) < cap(t.Entries) {
		t.Entries = append(t.Entries, unused)
	}
	for i := range t.Entries {
		for e := &t.Entries[i]; e[keySize]&placed == 0; {
			id := e.key()
			other := &t.Entries[h.slot(&id)]
			if *other != unused && other[keySize]&placed != 0 {
				return fmt.Errorf("libcmph gave the slot of key %x to another key too", id)
			}
			e[keySize] |= placed
			*e, *other = *other, *e
		}
	}
	for i := range t.Entries {
		if e := &t.Entries[i]; *e != unused {
			e[keySize] &^= placed
		}
	}
	return nil
}

func (t *table) sortByKey() {
	slices.SortFunc(t.Entries, func(a, b entry) int { return bytes.Compare(a[:keySize], b[:keySize]) })
}

func (t *table) sortByPosition() {
	slices.SortFunc(t.Entries, func(a, b entry) int { return bytes.Compare(a[keySize:], b[keySize:]) })
}
