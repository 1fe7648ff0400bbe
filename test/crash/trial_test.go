// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// trial is a process that is halted, with a database of its own.
type trial struct {
	*roletest.Stage
	story
	process *roletest.Process
	role    string
	at      moment

	since time.Time // of the halt
	left  string    // by the process
	lease bool      // the process had one
	outcome
}

// turns keep the machine from being so busy that it tells nothing how long
// something takes.
var turns = make(chan struct{}, 4)

// eachTrial halts a process at every point of every scenario on every type of pool,
// and logs what came of it.
func eachTrial(t *testing.T, signal syscall.Signal, test func(*testing.T, *trial)) {
	t.Parallel()
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		all := ground{T: t, stage: s}
		t.Cleanup(func() { t.Logf("%s\n%s", t.Name(), all.table()) })
		for _, sc := range scenarios {
			for _, at := range all.record(t, sc) {
				at.halt.Signal = signal
				line := all.reserve()
				t.Run(sc.name+"/"+at.name, func(t *testing.T) {
					t.Parallel()
					c := &trial{role: sc.name, at: at}
					all.begin(t, c, sc)
					test(t, c)
					all.set(line, c)
				})
			}
		}
	})
}

// ground is what the trials on a type of pool share.
type ground struct {
	*testing.T
	stage *roletest.Stage

	mu    sync.Mutex
	free  []string // databases that no trial uses
	lines []string // of the table, one for each trial, in the order of the points
}

// record takes the step of a scenario to its end, and returns the points.
func (g *ground) record(t *testing.T, sc scenario) []moment {
	t.Helper()
	c := &trial{role: sc.name}
	g.start(t, c, sc)
	expect.NoError(t, c.process.Wait(t))
	all := moments(c.process.Way())
	if len(all) < sc.minMoments {
		t.Errorf("the %s passes %d moments, want at least %d: %v", sc.name, len(all), sc.minMoments, all)
	}
	return all
}

// begin sets the stage and waits for the halt.
func (g *ground) begin(t *testing.T, c *trial, sc scenario) {
	t.Helper()
	turns <- struct{}{}
	defer func() { <-turns }()
	g.start(t, c, sc)
	if c.at.halt.Signal == unix.SIGKILL {
		c.process.Killed(t)
	} else {
		c.process.Halted(t)
	}
	c.since = time.Now()
	leases, err := c.Base.Leases(t.Context())
	expect.NoError(t, err)
	c.lease = len(leases) > 0
	c.left = state(t, c.Stage)
	c.reclaim(t)
	c.stored = append(c.stored, acknowledged(c.process)...)
	wantReadable(t, c.Stage, c.stored)
}

func (g *ground) start(t *testing.T, c *trial, sc scenario) {
	t.Helper()
	c.Stage = g.stage.On(t, g.database(t))
	c.story = sc.prepare(t, c.Stage)
	c.process = c.Start(t, c.role, c.at.halt)
}

// database gives a test an empty one, which the next may have after it.
func (g *ground) database(t *testing.T) (dsn string) {
	g.mu.Lock()
	if n := len(g.free); n > 0 {
		dsn, g.free = g.free[n-1], g.free[:n-1]
	}
	g.mu.Unlock()
	if dsn == "" {
		dsn = pgtest.NewFor(t, g.T)
	}
	t.Cleanup(func() {
		pgtest.Empty(t, dsn)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.free = append(g.free, dsn)
	})
	return dsn
}
