// SPDX-License-Identifier: GPL-3.0-or-later

package format

import "fmt"

// SameLayout judges whether an image is a copy of another one, perhaps a damaged one, by
// its index entries, read where the other image has its own and sought by the hash
// function of that one: how many of them fit there, and how many do not. In an image
// with another layout an entry fits by chance alone. ErrLayout where none fits, or
// more than one in ten do not.
func SameLayout(fit, others int64) error {
	if fit == 0 || 10*others > fit+others {
		return fmt.Errorf("%w: %d of %d index entries are not where the other image has them", ErrLayout, others, fit+others)
	}
	return nil
}
