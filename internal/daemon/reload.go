// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"log/slog"
	"sync"
)

// reloads are what SIGHUP reads again. Its methods may be called concurrently.
type reloads struct {
	mu  sync.Mutex
	all []reload
}

type reload struct {
	what string
	read func() error
}

// OnReload has read called at each SIGHUP. what names in the log what is read.
// After an error the role continues with what it has.
func (e *Env) OnReload(what string, read func() error) {
	e.reloads.add(what, read)
}

func (r *reloads) add(what string, read func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, reload{what, read})
}

// begin makes a goroutine that reads again upon each request, until requests is
// closed. No caller waits for it: a file may be on a mount that hangs.
func (r *reloads) begin(log *slog.Logger) (requests chan struct{}) {
	requests = make(chan struct{}, 1)
	go func() {
		for range requests {
			r.run(log)
		}
	}()
	return requests
}

func (r *reloads) run(log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		log.Warn("SIGHUP ignored: restart the role to apply a changed configuration")
		return
	}
	for _, one := range r.all {
		if err := one.read(); err != nil {
			log.Error("not reloaded: the role continues with what it had", "what", one.what, "err", err)
			continue
		}
		log.Info("reloaded", "what", one.what)
	}
}
