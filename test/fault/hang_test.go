// SPDX-License-Identifier: GPL-3.0-or-later

package fault

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"winery/sharedbase"
	"winery/test/cephtest"
	"winery/test/fleettest"
	"winery/test/harness"
)

// TestReadsOfStoppedOSD has 300 clients request an object of an image whose OSD
// is stopped, and cancel after two seconds. Few threads stay blocked, later
// requests are refused at once, and objects in other places are read as before.
func TestReadsOfStoppedOSD(t *testing.T) {
	const clients, bound = 300, 32
	t.Parallel()
	ceph := cephtest.Start(t)
	o := fleettest.Options(t)
	o.CephConf, o.CephPool, o.ShardMaxSize, o.Lease = ceph.Conf, "shards", 4<<20, lease
	f, ctx := fleettest.New(t, o), fleettest.Within(t)
	writer, err := f.StartWriter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	inImage, inTable := fill(ctx, t, f), random(10_000)
	if err := f.Client.Add(ctx, sum(inTable), inTable); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		fleettest.RunToEnd(ctx, t, f, role)
	}
	if inState(ctx, t, f, sharedbase.StateReadOnly) != 1 {
		t.Fatal("the shard is not in its image alone")
	}
	wantStatus(ctx, t, f, inImage, http.StatusOK)
	wantStatus(ctx, t, f, sum(inTable), http.StatusOK)
	before := threads(t, writer)

	ceph.SignalOSD(syscall.SIGSTOP)
	continued := sync.OnceFunc(func() { ceph.SignalOSD(syscall.SIGCONT) })
	defer continued()
	var giveUp sync.WaitGroup
	for range clients {
		giveUp.Go(func() { _, _ = status(ctx, f, inImage, 2*time.Second) })
	}
	stop, slowest := neighbour(ctx, t, f, sum(inTable))
	giveUp.Wait()
	stop()
	left := threads(t, writer) - before
	t.Logf("%d clients gave up and left %d threads behind; the slowest of their neighbours' reads took %v", clients, left, slowest())
	// In addition to the bounded calls the runtime has its own threads.
	if limit := bound + 16; left > limit {
		t.Errorf("%d threads more than before, want at most %d", left, limit)
	}

	says(ctx, t, writer, 0, "image does not answer; reads from it are refused until it does", "pool:shards")
	began := time.Now()
	for range clients {
		wantStatus(ctx, t, f, inImage, http.StatusServiceUnavailable)
		wantStatus(ctx, t, f, sum(inTable), http.StatusOK)
	}
	t.Logf("%d refusals and as many reads of a table took %v", clients, time.Since(began))
	if more := threads(t, writer) - before; more > bound+16 {
		t.Errorf("%d threads more than before, after the refusals", more)
	}

	continued()
	says(ctx, t, writer, 0, "image answers again", "pool:shards")
	wantStatus(ctx, t, f, inImage, http.StatusOK)
	for _, message := range []string{"image does not answer; reads from it are refused until it does", "image answers again"} {
		if n := said(t, writer, message, ""); n != 1 {
			t.Errorf("%q was logged %d times", message, n)
		}
	}
}

// neighbour reads an object over and over until stop is called, after which
// slowest tells how long the slowest read took.
func neighbour(ctx context.Context, t *testing.T, f *harness.Fleet, id [32]byte) (stop func(), slowest func() time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var longest atomic.Int64
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			got, err := status(ctx, f, id, time.Minute)
			if ctx.Err() == nil && (err != nil || got != http.StatusOK) {
				t.Errorf("a neighbour's read: status %d, %v", got, err)
			}
			longest.Store(max(longest.Load(), int64(time.Since(began))))
		}
	})
	return func() { cancel(); reading.Wait() }, func() time.Duration { return time.Duration(longest.Load()).Round(time.Millisecond) }
}

// status gets an object and returns the answer's status.
func status(ctx context.Context, f *harness.Fleet, id [32]byte, patience time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/objects/%x", f.URL, id), nil)
	if err != nil {
		return 0, err
	}
	request.Close = true // no connection outlives the test
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

func wantStatus(ctx context.Context, t *testing.T, f *harness.Fleet, id [32]byte, want int) {
	t.Helper()
	if got, err := status(ctx, f, id, 30*time.Second); err != nil || got != want {
		t.Fatalf("object %x: status %d, %v; want %d", id, got, err, want)
	}
}

// threads counts those of a process.
func threads(t *testing.T, p *harness.Process) int {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}
