// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// HeldError is returned for a shard whose holder has a lease that has not
// expired: the holder is alive, or was alive a moment ago.
type HeldError struct {
	Shard string
	Lease Lease
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("shard %s is held by %s, whose lease lasts until %s", e.Shard, e.Lease.Holder(), e.Lease.Expires.Format(time.RFC3339))
}

// ReleaseUnleased is ReleaseShard for a shard whose holder has no lease, or an
// expired one. Otherwise it fails with *HeldError, and changes nothing.
func (b *SharedBase) ReleaseUnleased(ctx context.Context, s Shard) error {
	to, ok := s.State.Origin()
	if !ok {
		return fmt.Errorf("shard %s cannot be released: its state is %s", s.Name, s.State)
	}
	return b.inTx(ctx, "releasing shard "+s.Name, func(ctx context.Context, tx pgx.Tx) error {
		// The shard's row before its lease, as in every transition.
		if _, err := tx.Exec(ctx, "/* winery: LockHeldShard */ SELECT FROM shards WHERE id = $1 FOR NO KEY UPDATE", s.ID); err != nil {
			return err
		}
		held := &HeldError{Shard: s.Name}
		l := &held.Lease
		err := tx.QueryRow(ctx, `/* winery: FindLiveLease */ SELECT role, host, pid, expires FROM winery_lease
			WHERE shard = $1 AND locker = $2 AND expires >= clock_timestamp() FOR UPDATE`, s.ID, s.Locker).
			Scan(&l.Role, &l.Host, &l.PID, &l.Expires)
		if err == nil {
			return held
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return moveIn(ctx, tx, s.Name, s.Locker, s.State, to, nil)
	})
}
