// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"winery/pool"
	"winery/sharedbase"
)

// Patrol scrubs the images that are mapped on this host, one after the other
// and over and over. The hosts of a fleet share the work.
type Patrol struct {
	// Scrubber does it. Its Rate should be low, and Mapped on.
	*Scrubber
	// OnlyPrefix selects the shards whose names begin with it; "" selects all.
	OnlyPrefix string
	// Pause between two rounds, by default a minute.
	Pause time.Duration
	Log   *slog.Logger
}

// neighbours are images of a similar age, which hosts read in different orders.
const neighbours = 256

// Run scrubs round after round until ctx ends.
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
// the round. It ends early when the database is unavailable.
func (p *Patrol) Round(ctx context.Context) error {
	images, err := p.images(ctx)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(images, neighbours) {
		rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		for _, img := range some {
			done, err := p.Base.VerifiedSince(ctx, img)
			if err != nil {
				return err
			}
			if !done {
				p.visit(ctx, img.Name)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	p.Metrics.RoundScrubbed()
	return nil
}

// images lists those to scrub.
func (p *Patrol) images(ctx context.Context) ([]sharedbase.Verification, error) {
	mapped := map[string]map[string]bool{}
	for name, from := range p.Pools {
		var err error
		if mapped[name], err = from.Mapped(ctx); err != nil {
			return nil, err
		}
	}
	all, err := p.Base.Verifications(ctx)
	return slices.DeleteFunc(all, func(v sharedbase.Verification) bool {
		return !mapped[v.Pool][v.Name] || !strings.HasPrefix(v.Name, p.OnlyPrefix)
	}), err
}

// visit scrubs one image. It maps the image again if the mapping gave other bytes
// than the store, and quarantines the shard if the store's image lacks something.
func (p *Patrol) visit(ctx context.Context, name string) {
	report, err := p.Scrub(ctx, name)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.Log.Warn("cannot scrub the image", "shard", name, "err", err)
	}
	if p.Mapped && slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Kind == ReadsDiffer }) {
		p.remap(ctx, report.Findings[0].Pool, name)
	}
	lost := slices.DeleteFunc(slices.Clone(report.Findings), func(f Finding) bool { return !f.Kind.Repairable() })
	for _, f := range report.Findings[:min(len(report.Findings), 10)] {
		p.Log.Error("scrub found damage", "kind", f.Kind, "shard", name, "pool", f.Pool, "finding", f.Text, "findings", len(report.Findings))
	}
	if len(lost) == 0 {
		return
	}
	p.Metrics.Quarantined("scrub", lost[0].Pool)
	s, err := p.Base.ShardByName(ctx, name)
	if err == nil {
		err = p.Base.Quarantine(ctx, s.ID, lost[0].Text)
	}
	if err != nil {
		p.Log.Error("cannot quarantine the shard", "shard", name, "err", err)
	}
}

func (p *Patrol) remap(ctx context.Context, from, name string) {
	log := p.Log.With("shard", name, "pool", from)
	if err := pool.Remap(ctx, p.Pools[from], name); err != nil {
		log.Error("mapping is wrong, store is right: the image could not be mapped again", "err", err)
		return
	}
	log.Warn("mapping was wrong, store is right: image mapped again")
}
