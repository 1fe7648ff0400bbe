// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
)

// MoveShard records that a readonly shard has its image in the pool to and not
// in the pool from any more; no host has mapped it there yet. The caller has
// made sure that the image is there. Recording twice is recording once.
// *StateError where the shard is not readonly, ErrNotFound where there is none.
func (b *SharedBase) MoveShard(ctx context.Context, name, from, to string) error {
	what := fmt.Sprintf("moving shard %s from pool %s to %s", name, from, to)
	err := b.withShortTimeout(ctx, what, func(ctx context.Context) error {
		return b.pool.QueryRow(ctx, `UPDATE shards s SET pool_name = $3, mapped_on_hosts_when_packed = '{}'
			WHERE name = $1 AND pool_name = $2 AND state = 'readonly' RETURNING `+notify, name, from, to).Scan(nil)
	})
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	s, err := b.ShardByName(ctx, name)
	switch {
	case err != nil:
		return err
	case s.State != StateReadOnly:
		return &StateError{Shard: name, Found: s.State, FoundLocker: s.Locker, Expected: StateReadOnly}
	case s.Pool != to:
		return fmt.Errorf("%s: it is in pool %s", what, s.Pool)
	}
	return nil
}
