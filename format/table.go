// SPDX-License-Identifier: GPL-3.0-or-later

package format

import "fmt"

// Table is a list of entries, whose type has no pointers, outside Go's heap. The zero
// Table is empty.
type Table[E any] struct{ Entries []E }

// Append adds an entry.
func (t *Table[E]) Append(e E) error {
	if n := len(t.Entries); n == cap(t.Entries) {
		if err := t.Reserve(n + n/4 + 1024); err != nil {
			return err
		}
	}
	t.Entries = append(t.Entries, e)
	return nil
}

// Reserve sets the capacity.
func (t *Table[E]) Reserve(n int) error {
	room, err := Reallocate(t.Entries[:cap(t.Entries)], n)
	if err != nil {
		return fmt.Errorf("allocating %d index entries: %w", n, err)
	}
	t.Entries = room[:len(t.Entries)]
	return nil
}

// Free frees the memory. The Table is empty then.
func (t *Table[E]) Free() {
	_, _ = Reallocate(t.Entries[:cap(t.Entries)], 0)
	t.Entries = nil
}
