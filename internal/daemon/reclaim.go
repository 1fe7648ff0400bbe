// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"

	"winery/sharedbase"
)

// Reclaim releases the shards of dead holders, now and every quarter of a lease,
// in the background until ctx ends or the returned function is called, which
// waits for the end. Every role that claims shards does this, so that one running
// process is enough; a reclaim notifies roles that wait for work.
func (e *Env) Reclaim(ctx context.Context, base *sharedbase.SharedBase) (stop func()) {
	e.reclaim(ctx, base)
	return Background(ctx, func(ctx context.Context) {
		every(ctx, e.Config.Winery.Lease/4, func() { e.reclaim(ctx, base) })
	})
}

func (e *Env) reclaim(ctx context.Context, base *sharedbase.SharedBase) {
	back, err := base.ReclaimExpired(ctx)
	for _, r := range back {
		e.Metrics.Reclaimed(string(r.Was))
		e.Log.Warn("shard reclaimed", "shard", r.Shard.Name, "old_state", r.Was, "state", r.Shard.State,
			"holder", r.Lease.Holder(), "version", r.Lease.Version, "expired", r.Lease.Expires)
	}
	if err != nil && ctx.Err() == nil {
		e.Log.Debug("cannot check for expired leases", "err", err) // the work itself complains
	}
}
