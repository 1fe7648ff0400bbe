// SPDX-License-Identifier: GPL-3.0-or-later

package pool

import (
	"context"
	"fmt"
)

// Remap maps an image again whose mapping on this host returns other bytes than
// the store. Readers get ErrNotMapped for a moment. ErrInUse where a reader has
// the mapping open.
func Remap(ctx context.Context, p Pool, name string) error {
	if err := p.Unmap(ctx, name); err != nil {
		return fmt.Errorf("the mapping must be renewed, but cannot be removed: %w", err)
	}
	return p.Map(ctx, name)
}
