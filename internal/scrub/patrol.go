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
// and over and over.
type Patrol struct {
	// Scrubber does it. Its Rate should be low, and Mapped on.
	*Scrubber
	// OnlyPrefix selects the shards whose names begin with it; "" selects all.
	OnlyPrefix string
	// Pause between two rounds, by default a minute.
	Pause time.Duration
	Log   *slog.Logger
}

// Run scrubs until ctx ends. Each round is in the order of the shards' names. The
// first round begins at a random shard, so that hosts and restarts do not all
// begin with the same one.
func (p *Patrol) Run(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		names, err := p.names(ctx)
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("cannot list the images to scrub", "err", err)
		}
		if first && len(names) > 0 {
			names = names[rand.IntN(len(names)):]
		}
		for _, name := range names {
			p.visit(ctx, name)
		}
		if !first && err == nil && ctx.Err() == nil { // the first one did not begin with the first image
			p.Metrics.RoundScrubbed()
		}
		select {
		case <-ctx.Done():
		case <-time.After(cmp.Or(p.Pause, time.Minute)):
		}
	}
}

// names lists the shards to scrub: those that are mapped here and not quarantined.
func (p *Patrol) names(ctx context.Context) (names []string, err error) {
	shards, err := p.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{
		sharedbase.StatePacked, sharedbase.StateCleaning, sharedbase.StateReadOnly,
	}})
	if err != nil {
		return nil, err
	}
	quarantined, err := p.Base.QuarantinedShards(ctx)
	if err != nil {
		return nil, err
	}
	mapped := map[string]map[string]bool{}
	for name, from := range p.Pools {
		if mapped[name], err = from.Mapped(ctx); err != nil {
			return nil, err
		}
	}
	for _, s := range shards {
		isQuarantined := slices.ContainsFunc(quarantined, func(p sharedbase.Quarantined) bool { return p.Shard.ID == s.ID })
		if mapped[s.Pool][s.Name] && !isQuarantined && strings.HasPrefix(s.Name, p.OnlyPrefix) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names, nil
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
