// SPDX-License-Identifier: GPL-3.0-or-later

package format

import (
	"errors"
	"fmt"
)

// LayoutCheck judges whether an image is a copy of another one, perhaps a damaged one, by
// its index entries, read where the other image has its own and sought by the hash
// function of that one: how many of them fit there. In an image with another layout an
// entry fits by chance alone. The zero value is ready; it is for one goroutine.
type LayoutCheck struct{ fit, others int64 }

// Count counts an entry, which fits or not.
func (c *LayoutCheck) Count(fits bool) {
	if fits {
		c.fit++
	} else {
		c.others++
	}
}

// Result returns ErrLayout where no entry fits, or more than one in ten do not, and where
// err says that the image ends before its entries do. err is that of reading the entries;
// any other one is returned.
func (c *LayoutCheck) Result(err error) error {
	switch {
	case errors.As(err, new(*DamageError)):
		return fmt.Errorf("%w: %w", ErrLayout, err)
	case err != nil:
		return err
	case c.fit == 0 || 10*c.others > c.fit+c.others:
		return fmt.Errorf("%w: %d of %d index entries are not where the other image has them", ErrLayout, c.others, c.fit+c.others)
	}
	return nil
}
