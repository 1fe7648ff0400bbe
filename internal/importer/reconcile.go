// SPDX-License-Identifier: GPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"winery/format"
	"winery/internal/inventory"
	"winery/pool"
	"winery/sharedbase"
)

// Unpacked is a shard that the database has as standby, writing or full, although
// the pool has a complete image of its name. The pool may be another than the shard's: the
// image was packed and migrated after the backup. Where the shard's lease has expired, its
// state is the one to which the next role returns it.
type Unpacked struct {
	Pool  pool.Pool
	Shard sharedbase.Shard
}

// FindUnpacked returns the shards that are not packed in the database and have a
// complete image in one of pools; if in several of them, with that in the shard's pool: the
// other is what a migration left.
func FindUnpacked(ctx context.Context, base *sharedbase.SharedBase, pools []pool.Pool) (found []Unpacked, err error) {
	seen := make(map[int64]int) // the position in found, by the number of the shard
	for _, p := range pools {
		differs, err := inventory.Compare(ctx, base, p)
		if err != nil {
			return nil, err
		}
		for _, s := range differs.Unpacked {
			at, again := seen[s.ID]
			switch {
			case !again:
				seen[s.ID] = len(found)
				found = append(found, Unpacked{p, s})
			case s.Pool == p.Name():
				found[at] = Unpacked{p, s}
			}
		}
	}
	return found, nil
}

// Adopt reads the whole image of an unpacked shard and assigns it, and its pool, to the shard,
// see [sharedbase.Claim.AdoptImage]. With dryRun it reads and changes nothing,
// and only Objects is set. It returns a *format.DamageError where the image is
// damaged, its header included, a *sharedbase.StateError where a process holds
// the shard, and pool.ErrInUse where a process still has the image open for writing.
func (i *Importer) Adopt(ctx context.Context, u Unpacked, dryRun bool) (done sharedbase.Adopted, err error) {
	if dryRun {
		if from, _ := claimedFrom(u.Shard.State); from != u.Shard.State {
			return done, i.notIn(ctx, u.Shard, from)
		}
		done.Objects, err = i.Examine(ctx, u.Pool, u.Shard.Name)
		return done, err
	}
	claim, err := i.claimUnpacked(ctx, u.Shard)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, claim.Release(ctx)) }() // nothing after AdoptImage
	working, stop := claim.Context(ctx)
	defer stop()
	// Whoever wrote the image must not be able to change it any more: the table is dropped.
	locked, err := u.Pool.Edit(working, u.Shard.Name, claim)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, locked.Close()) }()
	err = i.withVerifiedImage(working, u.Pool, u.Shard.Name, func(r format.Reader) error {
		record := sharedbase.ImageRecord{Objects: r.Info().Objects, Bytes: r.Info().ContentSize, Fingerprint: r.Fingerprint()}
		done, err = claim.AdoptImage(working, u.Pool.Name(), record, r.Keys(working))
		return err
	})
	return done, err
}

// claimedFrom returns the state in which a shard must be for its image to be adopted, and
// the one to which it is claimed.
func claimedFrom(s sharedbase.ShardState) (from, to sharedbase.ShardState) {
	if s == sharedbase.StateStandby {
		return sharedbase.StateStandby, sharedbase.StateWriting
	}
	return sharedbase.StateFull, sharedbase.StatePacking
}

// notIn returns why a shard cannot be claimed, and what to do about its holder.
func (i *Importer) notIn(ctx context.Context, s sharedbase.Shard, expected sharedbase.ShardState) error {
	err := &sharedbase.StateError{Shard: s.Name, Found: s.State, FoundLocker: s.Locker, Expected: expected}
	if s.Locker == uuid.Nil {
		return err
	}
	leases, failure := i.Base.Leases(ctx)
	if failure != nil {
		return errors.Join(err, failure)
	}
	if lease, leased := leases[s.Locker]; leased {
		return fmt.Errorf("%w: stop %s first", err, lease.Holder())
	}
	return fmt.Errorf("%w: a process of Python Winery locked the shard, without a lease; if the process is dead, run `wineryctl shards release --duration 0s --shard %s`",
		err, s.Name)
}

// claimUnpacked claims a shard, a standby one as a writer does and a full one as a
// packer does, so that no process replaces the image while it is read. A quarantined
// shard may be claimed: adopting its image is what ends the quarantine.
func (i *Importer) claimUnpacked(ctx context.Context, s sharedbase.Shard) (*sharedbase.Claim, error) {
	from, to := claimedFrom(s.State)
	claim, err := i.Base.LockOneShard(ctx, from, to, sharedbase.ClaimFilter{Name: s.Name, IncludeQuarantined: true})
	if err != nil || claim != nil {
		return claim, err
	}
	now, err := i.Base.ShardByName(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	return nil, i.notIn(ctx, now, from)
}

// Examine reads of an image what Import or Adopt would read, and returns the number of
// its objects. It changes nothing. *format.DamageError where the image is not whole;
// ErrUnfinished.
func (i *Importer) Examine(ctx context.Context, from pool.Pool, name string) (objects int64, err error) {
	err = i.withVerifiedImage(ctx, from, name, func(r format.Reader) error {
		for _, err := range r.Keys(ctx) {
			if err != nil {
				return err
			}
			objects++
		}
		return nil
	})
	return objects, err
}
