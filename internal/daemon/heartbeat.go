// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"log/slog"
	"time"

	"winery/sharedbase"
)

const (
	heartbeatInterval = 15 * time.Second
	// heartbeatTimeout is short, so that it adds little to the time that a role takes
	// to end while the database is unavailable.
	heartbeatTimeout = 3 * time.Second
)

// heartbeats record in the database that a role runs, and its status, until they are
// ended. No work depends on them: a failure is logged, once an outage.
type heartbeats struct {
	base    *sharedbase.SharedBase
	notify  *Notifier
	log     *slog.Logger
	failing bool
	stop    func()
}

func beginHeartbeats(base *sharedbase.SharedBase, notify *Notifier, log *slog.Logger) *heartbeats {
	h := &heartbeats{base: base, notify: notify, log: log}
	h.stop = Background(context.Background(), func(ctx context.Context) {
		h.send(ctx)
		every(ctx, heartbeatInterval, func() { h.send(ctx) })
	})
	return h
}

func (h *heartbeats) send(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	status, failing := h.notify.condition()
	err := h.base.Heartbeat(limited, status, failing)
	if err != nil && !h.failing && ctx.Err() == nil {
		h.log.Warn("cannot record that this process runs; its work continues", "err", err)
	}
	h.failing = err != nil
}

// end removes the record of a process that ends as asked. The record of one that
// failed stays, with the reason as its last status.
func (h *heartbeats) end(failed bool) {
	h.stop()
	if failed {
		h.send(context.Background())
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), heartbeatTimeout)
	defer cancel()
	if err := h.base.EndHeartbeats(ctx); err != nil {
		h.log.Debug("cannot remove the record of this process", "err", err)
	}
}
