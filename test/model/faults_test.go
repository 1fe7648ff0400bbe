// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"winery/internal/storage"
	"winery/sharedbase"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// fault is what happens to a process at a point of its work.
type fault string

const (
	none  fault = "none"
	fails fault = "fails" // an operation of a pool fails, once
	stops fault = "stops" // it gets a request to stop, as by SIGTERM
	dies  fault = "dies"  // nothing that it asks for happens any more
)

var errFault = errors.New("fault of the test")

// process is one that something may happen to.
type process struct {
	base   *sharedbase.SharedBase
	stores storage.Set
	fault  fault
	struck atomic.Bool

	mu     sync.Mutex
	points int // until it happens
	end    context.CancelFunc
}

var processes atomic.Int64

// inProcess does work as a process of its own, to which a fault happens at the
// nth point, 1 for the first: points are before and after each operation of its
// pools and, but for one that fails, each statement. It returns when nothing of
// the process is left, in the database's server neither. An error other than the
// fault's ends the test.
func (w *world) inProcess(f fault, nth int, work func(ctx context.Context, p *process) error) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	p := &process{stores: storage.Set{}, fault: f, points: nth, end: cancel}
	for name, store := range w.stores {
		p.stores[name] = &roletest.Hooked{Pool: store, At: p.poolPoint}
	}
	name := fmt.Sprintf("process %d", processes.Add(1))
	p.base = w.connect(name, sharedbase.WithObserver(func(sharedbase.Statement) { _ = p.point(true) }))
	err := work(ctx, p)
	p.base.Close()
	pgtest.Until(w, w.dsn, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1)", name)
	if err != nil && !p.struck.Load() {
		w.Fatal(err)
	}
	if f == dies && p.struck.Load() {
		w.dead[name] = true
	}
	for _, lease := range w.imageLeases() {
		if !w.dead[lease.Role] {
			w.Fatalf("%s has ended and still holds the claim to the image of shard %d", lease.Role, lease.ShardID)
		}
	}
	w.Logf("%s at %d: struck %v, %v", f, nth, p.struck.Load(), err)
}

// poolPoint is a point of the pools. What frees a handle cannot fail: it is this
// process, after all, that would keep it.
func (p *process) poolPoint(at roletest.Point, _ string) error {
	err := p.point(false)
	if at == roletest.Close || at == roletest.CloseEdit || at == roletest.Abort {
		return nil
	}
	return err
}

// point is passed by the process before each operation.
func (p *process) point(sql bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == none || p.fault == fails && sql {
		return nil
	}
	if p.points--; p.points > 0 || p.points < 0 && p.fault != dies {
		return nil
	}
	if p.points == 0 {
		p.struck.Store(true)
		p.strike()
	}
	if p.fault == stops {
		return nil
	}
	return errFault
}

func (p *process) strike() {
	if p.fault == dies {
		go p.base.Close() // waits for the connections that are in use
	}
	if p.fault != fails {
		p.end()
	}
}
