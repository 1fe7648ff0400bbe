// SPDX-License-Identifier: GPL-3.0-or-later

package model

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"winery/internal/httpapi/rpc"
	"winery/internal/httpapi/rpc/client"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/fleettest"
	"winery/test/harness"
)

const (
	clients = 8
	contest = 6 // objects: so few that the clients get in each other's way
	kills   = 2 // of the writer
	// What is done before each kill and after the last, at least:
	calls   = 2000
	through = 3 // shards that become read-only
)

// contested are the objects.
var contested = func() (objects [contest]rpc.Object) {
	for n := range objects {
		content := bytes.Repeat(fmt.Appendf(nil, "object %d ", n), 400)
		objects[n] = rpc.Object{ID: sha256.Sum256(content), Content: content}
	}
	return objects
}()

func TestLinearizable(t *testing.T) {
	o := fleettest.Options(t)
	o.ShardMaxSize = 100_000  // full after some dozens of adds
	o.Lease = 5 * time.Second // of what killed writers held
	f := fleettest.New(t, o)
	ctx := fleettest.Within(t)
	for _, role := range []string{harness.Packer, harness.Mapper, harness.Cleaner} {
		_, err := f.Start(role)
		expect.NoError(t, err)
	}
	h := &history{began: time.Now()}
	readOnly := sharedbase.ShardFilter{States: []sharedbase.ShardState{sharedbase.StateReadOnly}}
	for round := range kills + 1 {
		writer, err := f.StartWriter(ctx)
		expect.NoError(t, err)
		_, err = f.Client.Contains(ctx, contested[0].ID) // retried until its pools are open
		expect.NoError(t, err)
		h.clients(ctx, t, f.URL, func() error {
			err := harness.Until(ctx, func() (bool, error) {
				shards, err := f.Base.ListShards(ctx, readOnly)
				return h.len() >= (round+1)*calls && len(shards) >= (round+1)*through, err
			})
			if n := h.failed(); n > round*clients {
				err = errors.Join(err, fmt.Errorf("%d calls failed while the writer lived", n-round*clients))
			}
			if round < kills {
				err = errors.Join(err, writer.Kill())
			}
			return err
		})
	}
	linearizable(t, h.calls)
	quarantined, err := f.Base.QuarantinedShards(ctx)
	expect.NoError(t, err)
	if len(quarantined) > 0 {
		t.Errorf("nothing is damaged, and quarantined are %+v", quarantined)
	}
	t.Logf("%d calls, %d of them without an answer, explained", len(h.calls), h.failed())
}

// history is what clients did.
type history struct {
	began time.Time

	mu         sync.Mutex
	calls      []porcupine.Operation
	unanswered int
	names      int // of clients so far
}

func (h *history) now() int64 { return time.Since(h.began).Nanoseconds() }

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.calls)
}

// failed counts the calls that were not answered: one a client, which then ends.
func (h *history) failed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unanswered
}

// clients has clients at work, each until a call is not answered or end returns.
func (h *history) clients(ctx context.Context, t *testing.T, url string, end func() error) {
	t.Helper()
	var ended atomic.Bool
	var all sync.WaitGroup
	for range clients {
		h.names++
		name := h.names
		all.Go(func() {
			c, err := client.New(url, client.RetryFor(0), client.Timeout(20*time.Second))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for !ended.Load() && h.call(ctx, t, c, name) {
			}
		})
	}
	err := end()
	ended.Store(true)
	all.Wait()
	expect.NoError(t, err)
}

// call makes a call at random and writes it down; false if it was not answered.
func (h *history) call(ctx context.Context, t *testing.T, c *client.Client, name int) bool {
	asked := call{rand.IntN(contest), [...]string{"add", "add", "get", "contains", "delete"}[rand.IntN(5)]}
	began := h.now()
	told, err := ask(ctx, c, asked)
	ended := h.now()
	if err != nil && !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("%v: %v", asked, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if told == unknown {
		ended = never
		h.unanswered++
		if asked.what == "get" || asked.what == "contains" {
			return false // which says nothing
		}
	}
	h.calls = append(h.calls, porcupine.Operation{ClientId: name, Input: asked, Call: began, Output: told, Return: ended})
	return told != unknown
}

func ask(ctx context.Context, c *client.Client, asked call) (answer, error) {
	o, yesNo := contested[asked.object], map[bool]answer{true: yes, false: no}
	var is bool
	var err error
	switch asked.what {
	case "add":
		var news int
		news, _, err = c.AddBatch(ctx, []rpc.Object{o})
		is = news == 1
	case "get":
		var content []byte
		content, err = c.Get(ctx, o.ID)
		if is = err == nil; is && !bytes.Equal(content, o.Content) {
			return unknown, fmt.Errorf("object %d came back as %q", asked.object, content)
		}
	case "contains":
		is, err = c.Contains(ctx, o.ID)
	case "delete":
		err = c.Delete(ctx, o.ID)
		is = err == nil
	}
	if errors.Is(err, client.ErrNotFound) {
		return no, nil
	}
	if err != nil {
		return unknown, err
	}
	return yesNo[is], nil
}
