// SPDX-License-Identifier: GPL-3.0-or-later

package fault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
	"winery/test/fleettest"
	"winery/test/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lease is short, so that a test need not wait long for a dead holder's shard.
const lease = 4 * time.Second

// newFleet makes a fleet on a database, with images in a directory.
func newFleet(t *testing.T, dsn string) (*harness.Fleet, context.Context) {
	t.Helper()
	o := fleettest.Options(t)
	o.DSN, o.ShardMaxSize, o.Lease = dsn, 1<<20, lease
	return fleettest.New(t, o), fleettest.Within(t)
}

// random makes content that is new and cannot be compressed.
func random(size int) []byte {
	content := make([]byte, size)
	_, _ = rand.Read(content) // never fails
	return content
}

func sum(content []byte) [32]byte { return sha256.Sum256(content) }

// load is many clients that add objects, and repeat what fails.
type load struct {
	t     *testing.T
	ctx   context.Context
	stop  context.CancelFunc
	adds  sync.WaitGroup
	acked chan [32]byte
	all   [][32]byte
	count atomic.Int64 // of all
}

// startLoad adds objects of 10 kB by the fleet's writer until the load ends.
func startLoad(ctx context.Context, t *testing.T, f *harness.Fleet) *load {
	t.Helper()
	c, err := client.New(f.URL, client.RetryFor(4*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	l := &load{t: t, ctx: ctx, acked: make(chan [32]byte)}
	adding, stop := context.WithCancel(ctx)
	l.stop = stop
	for range 4 {
		l.adds.Go(func() {
			for {
				content := random(10_000)
				id := sum(content)
				err := c.Add(adding, id, content)
				if adding.Err() != nil {
					return // its fate is not known
				}
				if err != nil {
					t.Errorf("adding: %v", err)
					return
				}
				select {
				case l.acked <- id:
				case <-adding.Done():
					return
				}
			}
		})
	}
	t.Cleanup(func() { l.end(); c.Close() })
	return l
}

// goesOn waits until n further objects are acknowledged.
func (l *load) goesOn(n int) {
	l.t.Helper()
	for range n {
		select {
		case id := <-l.acked:
			l.took(id)
		case <-l.ctx.Done():
			l.t.Fatal("the work does not continue")
		}
	}
}

func (l *load) took(id [32]byte) {
	l.all = append(l.all, id)
	l.count.Add(1)
}

// while collects what is acknowledged as long as do runs.
func (l *load) while(do func()) {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	for {
		select {
		case id := <-l.acked:
			l.took(id)
		case <-done:
			return
		}
	}
}

// collected waits until n further objects were collected, within while.
func (l *load) collected(n int64) {
	l.t.Helper()
	until := l.count.Load() + n
	if err := harness.Until(l.ctx, func() (bool, error) { return l.count.Load() >= until, nil }); err != nil {
		l.t.Errorf("the work does not continue: %v", err)
	}
}

// end ends the load.
func (l *load) end() {
	l.stop()
	l.adds.Wait()
}

// there reads all that was acknowledged from the fleet's writer.
func (l *load) there(f *harness.Fleet) {
	l.t.Helper()
	for _, id := range l.all {
		content, err := f.Client.Get(l.ctx, id)
		if err != nil || sum(content) != id {
			l.t.Fatalf("acknowledged object %x: %d bytes, %v", id, len(content), err)
		}
	}
	l.t.Logf("%d acknowledged objects, all there", len(l.all))
}

// says waits until a process has logged more than n records with the message
// whose text contains part, and returns how many there are.
func says(ctx context.Context, t *testing.T, p *harness.Process, n int, msg, part string) (found int) {
	t.Helper()
	err := harness.Until(ctx, func() (bool, error) {
		found = said(t, p, msg, part)
		return found > n, nil
	})
	if err != nil {
		t.Fatalf("%s does not say %q, %q: %v", p.Name, msg, part, err)
	}
	return found
}

func said(t *testing.T, p *harness.Process, msg, part string) (n int) {
	records, err := p.Records(msg)
	if err != nil {
		t.Error(err)
	}
	for _, r := range records {
		if strings.Contains(fmt.Sprint(r), part) {
			n++
		}
	}
	return n
}

// start starts roles that work until the test ends.
func start(t *testing.T, f *harness.Fleet, roles ...string) {
	t.Helper()
	for _, role := range roles {
		if _, err := f.Start(role); err != nil {
			t.Fatal(err)
		}
	}
}

// inState counts the shards in a state.
func inState(ctx context.Context, t *testing.T, f *harness.Fleet, state sharedbase.ShardState) int {
	t.Helper()
	shards, err := f.Base.ListShards(ctx, sharedbase.ShardFilter{States: []sharedbase.ShardState{state}})
	if err != nil {
		t.Fatal(err)
	}
	return len(shards)
}
