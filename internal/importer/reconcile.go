// SPDX-License-Identifier: GPL-3.0-or-later

package importer

import (
	"context"
	"errors"

	"winery/format"
	"winery/internal/inventory"
	"winery/pool"
	"winery/sharedbase"
)

// Unpacked is a shard that the database has as standby, writing or full, although
// the pool has a complete image of its name. Where its lease has expired, its state is the
// one to which the next role returns it.
type Unpacked struct {
	Pool  pool.Pool
	Shard sharedbase.Shard
}

// FindUnpacked returns the shards of pools that are not packed in the database and
// have a complete image, by pool.
func FindUnpacked(ctx context.Context, base *sharedbase.SharedBase, pools []pool.Pool) (found []Unpacked, err error) {
	for _, p := range pools {
		differs, err := inventory.Compare(ctx, base, p)
		if err != nil {
			return nil, err
		}
		for _, s := range differs.Unpacked {
			found = append(found, Unpacked{p, s})
		}
	}
	return found, nil
}

// Adopt reads the whole image of an unpacked shard and assigns it to the shard,
// see [sharedbase.Claim.AdoptImage]. With dryRun it reads and changes nothing,
// and only Objects is set. It returns a *format.DamageError where the image is
// damaged, its header included, and a *sharedbase.StateError where a process
// holds the shard.
func (i *Importer) Adopt(ctx context.Context, u Unpacked, dryRun bool) (done sharedbase.Adopted, err error) {
	if dryRun {
		if from, _ := claimedFrom(u.Shard.State); from != u.Shard.State {
			return done, notIn(u.Shard, from)
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
	err = i.whole(working, u.Pool, u.Shard.Name, func(r format.Reader) error {
		record := sharedbase.ImageRecord{Objects: r.Info().Objects, Bytes: r.Info().ContentSize, Fingerprint: r.Fingerprint()}
		done, err = claim.AdoptImage(working, record, r.Keys(working))
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

func notIn(s sharedbase.Shard, expected sharedbase.ShardState) error {
	return &sharedbase.StateError{Shard: s.Name, Found: s.State, FoundLocker: s.Locker, Expected: expected}
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
	return nil, notIn(now, from)
}

// Examine reads of an image what Import or Adopt would read, and returns the number of
// its objects. It changes nothing. *format.DamageError where the image is not whole.
func (i *Importer) Examine(ctx context.Context, from pool.Pool, name string) (objects int64, err error) {
	err = i.whole(ctx, from, name, func(r format.Reader) error {
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
