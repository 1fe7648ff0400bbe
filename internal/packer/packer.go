// SPDX-License-Identifier: GPL-3.0-or-later

package packer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"winery/internal/imagebuild"
	"winery/internal/metrics"
	"winery/internal/progress"
	"winery/internal/storage"
	"winery/sharedbase"
)

// Options of a Packer. Base, Pools and Log must be set.
type Options struct {
	Base  *sharedbase.SharedBase
	Pools storage.Set
	// Pool is the name of the only pool to pack for. Empty: all of Pools.
	Pool string
	// Rate limits how fast contents are written, images are read back, and tables are read
	// again where an image does not verify, all packers that share it together. Nil: no
	// limit.
	Rate *rate.Limiter
	// History is that of all packers of a process. Nil: of this one alone.
	History *History
	// Progress is called about once a second while bytes move, one call at a
	// time. May be nil.
	Progress progress.Func
	// Metrics may be nil. MaxSizes and Part are for them: by pool, the size in bytes at
	// which a shard is full; and which of several loops of a process this packer serves,
	// "" where there is one.
	Metrics  *metrics.Client
	MaxSizes map[string]int64
	Part     string
	Log      *slog.Logger
}

// Packer packs full shards, one at a time. Any number of packers may work on
// one database; a Packer itself serves one goroutine.
type Packer struct{ Options }

// New makes a Packer. It does not connect to anything.
func New(o Options) *Packer {
	if o.History == nil {
		o.History = NewHistory()
	}
	return &Packer{o}
}

// Step packs one full shard. worked is false if there is none. Step ignores shards of pools
// that are not configured, with a warning, and postpones a shard whose packing failed after
// more than a minute: [*PostponedError] where there is nothing else to do. After an error,
// and also when ctx ended, the shard is FULL again and its table is unchanged. Step notices
// the end of ctx at the next object or block; but not while it computes the hash function,
// which takes some seconds for a million objects. Step ignores shards that are quarantined.
func (p *Packer) Step(ctx context.Context) (worked bool, err error) {
	full, err := p.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StateFull}})
	if err != nil {
		return false, err
	}
	p.warnUnconfigured(full)
	full = slices.DeleteFunc(full, func(s sharedbase.Shard) bool {
		return p.Pools[s.Pool] == nil || p.Pool != "" && s.Pool != p.Pool
	})
	if full, err = p.withoutQuarantined(ctx, full); err != nil {
		return false, err
	}
	due, postponed := p.History.due(full)
	for _, s := range due {
		start := p.History.now()
		worked, err := p.Base.WithOneShard(ctx, sharedbase.StateFull, sharedbase.StatePacking,
			sharedbase.ClaimFilter{Name: s.Name}, p.pack)
		if err != nil {
			p.fails(s, start, err)
			return false, fmt.Errorf("packing shard %s into pool %s: %w", s.Name, s.Pool, err)
		}
		if worked { // else another packer was faster
			p.History.forget(s.Name)
			return true, nil
		}
	}
	if postponed != nil {
		return false, postponed
	}
	return false, nil
}

// fails notes that a shard could not be packed, which began at start. A shard that is
// quarantined is not tried again until a person has released it; then it is tried at once.
func (p *Packer) fails(s sharedbase.Shard, start time.Time, err error) {
	if errors.As(err, new(quarantinedError)) {
		p.History.forget(s.Name)
	} else if pause := p.History.fails(s.Name, start, err); pause > 0 {
		p.Log.Warn("shard postponed after a costly failure", "shard", s.Name, "pool", s.Pool, "retry_in", pause)
	}
}

// withoutQuarantined leaves out the shards that no packer may claim.
func (p *Packer) withoutQuarantined(ctx context.Context, full []sharedbase.Shard) ([]sharedbase.Shard, error) {
	if len(full) == 0 {
		return nil, nil
	}
	quarantined, err := p.Base.QuarantinedShards(ctx)
	return slices.DeleteFunc(full, func(s sharedbase.Shard) bool {
		return slices.ContainsFunc(quarantined, func(q sharedbase.Quarantined) bool { return q.Shard.ID == s.ID })
	}), err
}

// warnUnconfigured warns of full shards whose pools are not configured, so that
// this packer never packs them, once for each change of those pools.
func (p *Packer) warnUnconfigured(full []sharedbase.Shard) {
	var pools []string
	shards := 0
	for _, s := range full {
		if p.Pools[s.Pool] == nil {
			pools = append(pools, s.Pool)
			shards++
		}
	}
	slices.Sort(pools)
	pools = slices.Compact(pools)
	if p.History.warnOf(pools) {
		p.Log.Warn("full shards cannot be packed, because their pools are not configured", "pools", pools, "shards", shards)
	}
}

// pack does the work of Step under the claim.
func (p *Packer) pack(ctx context.Context, claim *sharedbase.Claim) error {
	start := time.Now()
	to := p.Pools[claim.Pool()]
	p.Metrics.PackingStarts(p.MaxSizes[to.Name()])
	failure := "Error"
	defer func() { p.Metrics.Packed(to.Name(), time.Since(start), failure) }()
	made, err := imagebuild.Job{
		Base: p.Base, Claim: claim, Pool: to, Progress: p.working(), Rate: p.Rate,
		Added:    func(size int64) { p.Metrics.ObjectPacked(to.Name(), size) },
		Verified: func(bytes int64) { p.Metrics.Verified(to.Name(), bytes) },
	}.Make(ctx)
	if err != nil {
		return p.diagnose(ctx, claim, err)
	}
	// Also where ctx ends now: on S3, Python's packer fails on a full shard that has an image.
	if err := claim.Packed(context.WithoutCancel(ctx), made.Record); err != nil {
		return err
	}
	failure = ""
	p.Log.Info("shard packed", "shard", claim.Name(), "pool", to.Name(),
		"objects", made.Record.Objects, "bytes", made.Record.Bytes, "image_bytes", made.Size,
		"write_seconds", made.WriteTime.Seconds(), "verify_seconds", made.VerifyTime.Seconds())
	return nil
}

// working returns what to report the progress of a try to. Once the try has lasted longer
// than a cheap one, and than any that failed, the packer works, and no longer waits because
// of an earlier failure.
func (p *Packer) working() progress.Func {
	start, longest, reset := p.History.now(), p.History.longest(), false
	return func(r progress.Report) {
		if !reset && p.History.now().Sub(start) > longest {
			reset = true
			p.Metrics.BackOff("packer", p.Part, 0)
		}
		if p.Progress != nil {
			p.Progress(r)
		}
	}
}
