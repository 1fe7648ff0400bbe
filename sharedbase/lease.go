// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ErrLeaseLost: a claim was not renewed in time, or another process took the
// shard. The holder must stop its work on the shard; the database refuses it from
// now on.
var ErrLeaseLost = errors.New("the lease on the shard is lost")

// Lease names the holder of a claim, and when it expires unless it is renewed.
type Lease struct {
	ShardID    int64
	Locker     uuid.UUID // the claim's
	Role, Host string
	PID        int
	Version    string    // of the holder's program
	Expires    time.Time // by the database's clock
	Expired    bool      // by the same, when the row was read
}

// Holder is a line for people: "packer on ceph3 (pid 4711)".
func (l Lease) Holder() string { return fmt.Sprintf("%s on %s (pid %d)", l.Role, l.Host, l.PID) }

// Leases returns the leases of claims that are locked now, by locker. A locked
// shard whose locker is not among them is held by a process of Python Winery.
func (b *SharedBase) Leases(ctx context.Context) (map[uuid.UUID]Lease, error) {
	leases := map[uuid.UUID]Lease{}
	var l Lease
	err := b.each(ctx, b.conns.rest, "listing leases",
		[]any{&l.ShardID, &l.Locker, &l.Role, &l.Host, &l.PID, &l.Version, &l.Expires, &l.Expired}, func() { leases[l.Locker] = l }, `/* winery: Leases */
		SELECT l.shard, l.locker, l.role, l.host, l.pid, l.version, l.expires, l.expires < clock_timestamp()
		FROM winery_lease l JOIN shards s ON s.id = l.shard AND s.locker = l.locker`)
	return leases, ignoreNotAttached(err)
}

// AfterReclaim returns a shard as ReclaimExpired would leave it. The leases are those that
// Leases returned.
func (s Shard) AfterReclaim(leases map[uuid.UUID]Lease) Shard {
	origin, ok := s.State.Origin()
	if !ok || !leases[s.Locker].Expired {
		return s
	}
	s.State, s.Locker, s.LockedAt = origin, uuid.Nil, time.Time{}
	return s
}

// insertLease is the part of a statement that makes the lease of the shard whose id is in the part "locked".
const insertLease = `leased AS (
	INSERT INTO winery_lease (locker, role, host, pid, version, expires, shard)
	SELECT @locker, @role, @host, @pid, @version, clock_timestamp() + @lease, id FROM locked
	ON CONFLICT (shard) DO UPDATE SET locker = excluded.locker, role = excluded.role, host = excluded.host,
		pid = excluded.pid, version = excluded.version, expires = excluded.expires)`

// leaseArgs adds to args those of a statement that makes a lease: @locker, @role, @host, @pid, @version, and
// @lease, which is its length.
func (b *SharedBase) leaseArgs(locker uuid.UUID, args pgx.NamedArgs) pgx.NamedArgs {
	args["locker"], args["lease"] = locker, b.lease
	args["role"], args["host"], args["pid"], args["version"] = b.holder.Role, b.holder.Host, b.holder.PID, b.holder.Version
	return args
}

// Reclaimed is a shard that was reclaimed from a dead holder.
type Reclaimed struct {
	Shard Shard      // as it is now
	Was   ShardState // before
	Lease Lease      // the expired lease
}

// ReclaimExpired returns every shard whose lease has expired to the state from
// which it was claimed, and notifies listeners. If several processes call it at
// once, one of them reclaims each shard. A failure does not stop the remaining
// shards.
func (b *SharedBase) ReclaimExpired(ctx context.Context) (back []Reclaimed, err error) {
	leases, err := b.Leases(ctx)
	if err != nil {
		return nil, err
	}
	errs := []error{}
	for _, l := range leases {
		if !l.Expired {
			continue
		}
		r, err := b.reclaim(ctx, l)
		errs = append(errs, err)
		if r != nil {
			back = append(back, *r)
		}
	}
	return back, errors.Join(errs...)
}

// reclaim locks the shard's row before the lease, as every transition does: a
// holder that moves the shard on this moment, or renews, wins.
func (b *SharedBase) reclaim(ctx context.Context, l Lease) (r *Reclaimed, err error) {
	what := fmt.Sprintf("reclaiming shard number %d from %s", l.ShardID, l.Holder())
	err = b.inTx(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		s, err := scanShard(tx.QueryRow(ctx, `/* winery: LockLeasedShard */
			SELECT `+shardColumns+" FROM shards s WHERE id = $1 AND locker = $2 FOR NO KEY UPDATE",
			l.ShardID, l.Locker))
		if err != nil {
			return err
		}
		ended, err := tx.Exec(ctx, `/* winery: EndExpiredLease */
			DELETE FROM winery_lease WHERE shard = $1 AND locker = $2 AND expires < clock_timestamp()`,
			l.ShardID, l.Locker)
		origin, ok := s.State.Origin()
		if err != nil || ended.RowsAffected() == 0 || !ok {
			return err
		}
		if err := moveIn(ctx, tx, s.Name, l.Locker, s.State, origin, nil); err != nil {
			return err
		}
		r = &Reclaimed{Shard: s, Was: s.State, Lease: l}
		r.Shard.State, r.Shard.Locker, r.Shard.LockedAt = origin, uuid.Nil, time.Time{}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		err = nil // changed since the leases were listed
	}
	if err != nil {
		r = nil
	}
	return r, err
}
