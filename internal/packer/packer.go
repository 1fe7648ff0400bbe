// SPDX-License-Identifier: GPL-3.0-or-later

package packer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"winery/internal/metrics"
	"winery/internal/pools"
	"winery/pool"
	"winery/shard"
	"winery/sharedbase"
)

// Options of a Packer. Base, Pools and Log must be set.
type Options struct {
	Base  *sharedbase.SharedBase
	Pools pools.Set
	// Pool is the name of the only pool to pack for. Empty: all of Pools.
	Pool string
	// Progress is called about once a second while bytes move, one call at a
	// time. May be nil.
	Progress func(Progress)
	// Metrics may be nil. MaxSizes are for them: by pool, the size in bytes at
	// which a shard is full.
	Metrics  *metrics.Client
	MaxSizes map[string]int64
	Log      *slog.Logger
}

// Packer packs full shards, one at a time. Any number of packers may work on
// one database; a Packer itself serves one goroutine.
type Packer struct {
	Options
	failures map[string]int // by shard: tries of this process that failed
}

// New makes a Packer. It does not connect to anything.
func New(o Options) *Packer {
	return &Packer{Options: o, failures: map[string]int{}}
}

// Step packs one full shard. worked is false where there is none; shards of
// pools that are not configured are somebody else's. After an error, and also
// when ctx ended, the shard is FULL again and its table is as it was. A ctx
// that ends is heard at the next object or block; not while the hash function
// is computed, which takes some seconds for a million objects.
func (p *Packer) Step(ctx context.Context) (worked bool, err error) {
	full, err := p.Base.ListShards(ctx, sharedbase.ShardFilter{
		States: []sharedbase.ShardState{sharedbase.StateFull}, Pool: p.Pool,
	})
	if err != nil {
		return false, err
	}
	slices.SortStableFunc(full, func(a, b sharedbase.Shard) int {
		return cmp.Compare(p.failures[a.Name], p.failures[b.Name])
	})
	for _, s := range full {
		if p.Pools[s.Pool] == nil {
			continue
		}
		worked, err := p.Base.WithOneShard(ctx, sharedbase.StateFull, sharedbase.StatePacking,
			sharedbase.ClaimFilter{Name: s.Name}, p.pack)
		if err != nil {
			p.failures[s.Name]++
			return false, fmt.Errorf("packing shard %s into pool %s: %w", s.Name, s.Pool, err)
		}
		if worked { // else another packer was faster
			delete(p.failures, s.Name)
			return true, nil
		}
	}
	return false, nil
}

// pack does the work of Step under the claim.
func (p *Packer) pack(ctx context.Context, claim *sharedbase.Claim) (err error) {
	start := time.Now()
	to := p.Pools[claim.Pool()]
	p.Metrics.PackingStarts(p.MaxSizes[to.Name()])
	failure := "Error"
	defer func() { p.Metrics.Packed(to.Name(), time.Since(start), failure) }()
	objects, size, err := p.Base.TableSize(ctx, claim.Name())
	if err != nil {
		return err
	}
	draft, err := to.Create(ctx, claim.Name(), shard.SizeBound(objects, size), claim.Prove)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, draft.Abort(ctx)) }() // nothing after Commit
	written, err := p.write(ctx, draft, claim, size)
	if err != nil {
		return err
	}
	wrote := time.Now()
	image, err := p.verify(ctx, draft, claim.Name(), written)
	if err != nil {
		return p.doubt(ctx, claim, err)
	}
	if err := claim.Prove(ctx); err != nil {
		return err // a successor's image is not to be met
	}
	if err := draft.Commit(ctx); err != nil {
		return err
	}
	if err := claim.Packed(ctx, image); err != nil {
		return err
	}
	failure = ""
	p.Log.Info("packed", "shard", claim.Name(), "pool", to.Name(),
		"objects", written.Objects, "bytes", written.ObjectsSize,
		"write_seconds", wrote.Sub(start).Seconds(), "verify_seconds", time.Since(wrote).Seconds())
	return nil
}

// write writes the whole image, of size bytes of contents, into the draft.
func (p *Packer) write(ctx context.Context, draft pool.Draft, claim *sharedbase.Claim, size int64) (info shard.Info, err error) {
	w, err := shard.NewWriter(draft, draft.Size())
	if err != nil {
		return info, err
	}
	defer w.Close()

	meter := newMeter(p.Progress, claim.Name(), Writing, size)
	count, err := p.Base.StreamTable(ctx, claim, func(id sharedbase.ObjID, size int64, content io.Reader) error {
		meter.add(size)
		p.Metrics.ObjectPacked(claim.Pool(), size)
		return w.Add(id, size, content)
	})
	if err != nil {
		return info, err
	}
	if info, err = w.Finish(); err != nil {
		return info, err
	}
	if info.Objects != count {
		return info, fmt.Errorf("the image has %d objects, the table's snapshot %d", info.Objects, count)
	}
	return info, nil
}

// verify reads the whole draft back from the store, and returns what is to be
// recorded of it.
func (p *Packer) verify(ctx context.Context, draft pool.Draft, name string, want shard.Info) (image sharedbase.ImageRecord, err error) {
	img, err := draft.Open(ctx)
	if err != nil {
		return image, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	r, err := shard.Open(img, img.Size(), name)
	if err != nil {
		return image, err
	}
	meter := newMeter(p.Progress, name, Verifying, want.ObjectsSize)
	got, err := r.Verify(ctx, meter.add)
	if err != nil {
		return image, err
	}
	if got.Objects != want.Objects || got.Deleted != 0 {
		return image, fmt.Errorf("%d objects were written to image %s, %d are in it", want.Objects, name, got.Objects)
	}
	return sharedbase.ImageRecord{Objects: got.Objects, Bytes: got.Bytes, Fingerprint: r.Fingerprint()}, nil
}
