// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"winery/internal/hang"
	"winery/internal/storage"
	"winery/pool"
	"winery/sharedbase"
)

// Patrol scrubs the images that are mapped on this host, one after the other
// and repeatedly. The hosts of a fleet share the work.
type Patrol struct {
	// Scrubber does it. Its Rate should be low, and Mapped on.
	*Scrubber
	// OnlyPrefix selects the shards whose names begin with it; "" selects all.
	OnlyPrefix string
	// Pause between two rounds, by default a minute.
	Pause time.Duration
	// CallTimeout is how long one call of a pool may take, by default a minute.
	CallTimeout time.Duration
	Log         *slog.Logger

	hanging hang.Calls          // what was left behind
	failed  map[hang.Place]bool // images that could not be read the last time
	failing map[string]bool     // pools, and that was logged
}

const (
	// neighbours are images of a similar age, which hosts read in different orders.
	neighbours = 256
	// maxFailures is how many images of a pool may fail in a row in a round. Then
	// the others are left to the next round.
	maxFailures = 16
)

// Run scrubs round after round until ctx ends, and returns within a few seconds then. A
// call that hangs is left behind.
func (p *Patrol) Run(ctx context.Context) {
	pause := cmp.Or(p.Pause, time.Minute)
	for ctx.Err() == nil {
		if err := p.Round(ctx); err != nil && ctx.Err() == nil {
			p.Log.Warn("scrub of mapped images stopped, retrying", "err", err, "retry_in", pause)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Round scrubs each image that is mapped on this host, and whose shard is not
// quarantined, once: first those that no host has read back for the longest time, so that
// a process that starts again continues, and none that another host reads back during
// the round. Those that could not be read the last time come last, and not before a call
// that hung has returned. It skips pools that fail, and ends early when the database is
// unavailable.
func (p *Patrol) Round(ctx context.Context) error {
	if p.failed == nil {
		p.failed, p.failing = map[hang.Place]bool{}, map[string]bool{}
	}
	images, complete, err := p.images(ctx)
	if err != nil {
		return err
	}
	failures := map[string]int{} // by pool, in a row
	for _, img := range images {
		if failures[img.Pool] == maxFailures || !p.canBegin(img) {
			complete = false
			continue
		}
		done, err := p.Base.VerifiedSince(ctx, img)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		err = p.visit(ctx, img)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			failures[img.Pool] = 0
			p.works(img.Pool)
		} else if failures[img.Pool]++; failures[img.Pool] == maxFailures {
			p.fails(img.Pool, err)
		}
	}
	if complete {
		p.Metrics.RoundScrubbed()
	}
	return nil
}

// images lists those to scrub, in their order. complete is false where a pool fails.
func (p *Patrol) images(ctx context.Context) (images []sharedbase.Verification, complete bool, err error) {
	images, err = p.Base.Verifications(ctx)
	if err != nil {
		return nil, false, err
	}
	mapped := map[string]map[string]bool{}
	complete = true
	for name := range p.Pools {
		mapped[name], err = p.listMapped(ctx, name)
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if err != nil {
			complete = false
			p.fails(name, err)
		}
	}
	images = slices.DeleteFunc(images, func(v sharedbase.Verification) bool {
		return !mapped[v.Pool][v.Name] || !strings.HasPrefix(v.Name, p.OnlyPrefix)
	})
	for some := range slices.Chunk(images, neighbours) {
		rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	}
	late := func(v sharedbase.Verification) int {
		if p.failed[hang.Place{Pool: v.Pool, Image: v.Name}] {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(images, func(a, b sharedbase.Verification) int { return late(a) - late(b) })
	return images, complete, nil
}

func (p *Patrol) listMapped(ctx context.Context, name string) (map[string]bool, error) {
	at := hang.Place{Pool: name}
	if p.hanging.Hangs(at) {
		return nil, errors.New("an earlier listing of the mapped images has not returned")
	}
	return limited(ctx, p, at, func(ctx context.Context, pools storage.Set) (map[string]bool, error) {
		return pools[name].Mapped(ctx)
	})
}

// fails logs that a pool fails, once until it works again.
func (p *Patrol) fails(name string, err error) {
	if !p.failing[name] {
		p.failing[name] = true
		p.Log.Warn("pool cannot be scrubbed, scrubbing the other pools", "pool", name, "err", err)
	}
}

func (p *Patrol) works(name string) {
	if p.failing[name] {
		delete(p.failing, name)
		p.Log.Info("pool is scrubbed again", "pool", name)
	}
}

// visit scrubs one image. It maps the image again if the mapping gave other bytes
// than the store, and quarantines the shard if the store's image lacks something.
// It returns an error if the image could not be read.
func (p *Patrol) visit(ctx context.Context, img sharedbase.Verification) error {
	name, at := img.Name, hang.Place{Pool: img.Pool, Image: img.Name}
	report, err := limited(ctx, p, at, func(ctx context.Context, pools storage.Set) (Report, error) {
		own := *p.Scrubber
		own.Pools = pools
		return own.Scrub(ctx, name)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	delete(p.failed, at)
	if err != nil {
		p.failed[at] = true
	}
	if _, silent := errors.AsType[*hang.SilentError](err); silent {
		p.Log.Warn("image does not answer, scrubbing the next one", "shard", name, "pool", img.Pool, "err", err)
	} else if err != nil && !p.failing[img.Pool] {
		p.Log.Warn("cannot scrub the image", "shard", name, "pool", img.Pool, "err", err)
	}
	if p.Mapped && slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Kind == ReadsDiffer }) {
		p.remap(ctx, report.Findings[0].Pool, name)
	}
	lost := slices.DeleteFunc(slices.Clone(report.Findings), func(f Finding) bool { return !f.Kind.Repairable() })
	for _, f := range report.Findings[:min(len(report.Findings), 10)] {
		p.Log.Error("scrub found damage", "kind", f.Kind, "shard", name, "pool", f.Pool, "finding", f.Text, "findings", len(report.Findings))
	}
	if len(lost) == 0 {
		return err
	}
	s, failure := p.Base.ShardByName(ctx, name)
	if failure == nil {
		failure = p.Base.QuarantineIn(ctx, s.ID, lost[0].Pool, lost[0].Text)
	}
	if errors.Is(failure, sharedbase.ErrMoved) {
		return err // what was found is left behind, and out of use
	}
	p.Metrics.Quarantined("mapper", lost[0].Pool)
	if failure != nil {
		p.Log.Error("cannot quarantine the shard", "shard", name, "err", failure)
	}
	return err
}

func (p *Patrol) remap(ctx context.Context, from, name string) {
	log := p.Log.With("shard", name, "pool", from)
	_, err := limited(ctx, p, hang.Place{Pool: from, Image: name}, func(ctx context.Context, pools storage.Set) (struct{}, error) {
		return struct{}{}, pool.Remap(ctx, pools[from], name)
	})
	if err != nil {
		log.Error("mapping is wrong, store is right: the image could not be mapped again", "err", err)
		return
	}
	log.Warn("mapping was wrong, store is right: image mapped again")
}
