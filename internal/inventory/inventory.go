// SPDX-License-Identifier: GPL-3.0-or-later

// Package inventory compares the images that a pool holds with the shards that
// the database says are in it. It compares names, and opens the images of shards
// that are not packed in the database; it hashes nothing.
package inventory

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"winery/pool"
	"winery/sharedbase"
)

// Difference is what a pool and the database do not agree on, by the names of
// images in ascending order.
type Difference struct {
	// Missing images: the database has them in the pool, and the pool does not.
	Missing []string
	// Unknown images: no shard of the database has their name. Some may be unfinished, see
	// Finished.
	Unknown []string
	// Unpacked: complete images of shards that are standby, writing or full in
	// the database, which may have them in another pool. It was restored from an older
	// backup; or a packer died before it recorded the image, see Newer. A shard whose lease
	// has expired has the state to which the next role returns it.
	Unpacked []sharedbase.Shard

	pool string
}

// Newer returns the shards of Unpacked whose image is newer than the database: all but
// those that a packer may have left, which are full, with the image in the shard's pool.
func (d Difference) Newer() (newer []sharedbase.Shard) {
	for _, s := range d.Unpacked {
		if s.State != sharedbase.StateFull || s.Pool != d.pool {
			newer = append(newer, s)
		}
	}
	return newer
}

// Compare lists the images of p and the shards of base once. Roles may work
// meanwhile: each difference is checked again, so that a shard that changes its
// state is not reported. An image that a migration to another pool left in p is
// not reported either.
func Compare(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool) (d Difference, err error) {
	d.pool = p.Name()
	shards, err := base.ListShards(ctx, sharedbase.ShardFilter{})
	if err != nil {
		return d, err
	}
	leases, err := base.Leases(ctx)
	if err != nil {
		return d, err
	}
	images, err := p.List(ctx) // after the shards: an image that is available was there before
	if err != nil {
		return d, err
	}
	known := make(map[string]bool, len(shards))
	for _, s := range shards {
		known[s.Name] = true
		_, listed := slices.BinarySearch(images, s.Name)
		if err := d.addShard(ctx, base, p, s, listed, leases); err != nil {
			return d, err
		}
	}
	for _, name := range images {
		if known[name] {
			continue
		}
		_, err := base.ShardByName(ctx, name)
		if errors.Is(err, sharedbase.ErrNotFound) {
			d.Unknown, err = append(d.Unknown, name), nil
		}
		if err != nil {
			return d, err
		}
	}
	slices.Sort(d.Missing)
	slices.Sort(d.Unknown)
	return d, nil
}

// addShard adds the shard if it differs.
func (d *Difference) addShard(ctx context.Context, base *sharedbase.SharedBase, p pool.Pool, s sharedbase.Shard, listed bool, leases map[uuid.UUID]sharedbase.Lease) error {
	s = s.AfterReclaim(leases)
	switch {
	case listed && s.State == sharedbase.StateImporting:
		d.Unknown = append(d.Unknown, s.Name) // its importer, of Python Winery, may have died
	case listed && unpacked(s.State): // in another pool: it was packed and migrated after the backup
		finished, err := Finished(ctx, p, s.Name)
		if errors.Is(err, pool.ErrNotFound) {
			return nil
		}
		if err != nil || !finished {
			return err
		}
		now, err := base.ShardByName(ctx, s.Name)
		if now = now.AfterReclaim(leases); err == nil && unpacked(now.State) {
			d.Unpacked = append(d.Unpacked, now)
		}
		return err
	case !listed && s.Pool == p.Name() && s.State.ImageAvailable():
		now, err := base.ShardByName(ctx, s.Name)
		if err == nil && now.Pool == p.Name() {
			d.Missing = append(d.Missing, s.Name)
		}
		return err
	}
	return nil
}

// unpacked says that a shard has no complete image, by the database. In packing
// it may have one at any moment.
func unpacked(s sharedbase.ShardState) bool {
	return s == sharedbase.StateStandby || s == sharedbase.StateWriting || s == sharedbase.StateFull
}

// Finished reports whether an image of a pool is finished: not one that is reserved, nor what
// a packer or a migration left that was interrupted. It reads the beginning of the image.
// pool.ErrNotFound.
func Finished(ctx context.Context, p pool.Pool, name string) (finished bool, err error) {
	img, err := p.Open(ctx, name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	unfinished, err := p.Format().Unfinished(img, img.Size(), name)
	return err == nil && !unfinished, err
}
