// SPDX-License-Identifier: GPL-3.0-or-later

package load

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"winery/internal/httpapi/rpc/client"
)

// Store is where the objects go; [client.Client] is one. Get and GetBatch compare each content with its id; of what
// they return only the lengths are used.
type Store interface {
	Add(ctx context.Context, id [32]byte, content []byte) error
	AddBatch(ctx context.Context, objects []client.Object) (added int, size int64, err error)
	Get(ctx context.Context, id [32]byte) ([]byte, error)
	GetBatch(ctx context.Context, ids [][32]byte) ([][]byte, error)
}

// Clients are clients that work at the same time. Each sends one request after
// the other.
type Clients struct {
	To    Store
	Count int
	Batch int           // objects in a request; with 1, the requests are those for single objects
	Time  time.Duration // how long they work; 0: without end
}

// Add stores the next objects of a series until the time is over or ctx ends, which
// is no error, or until limit objects are stored, and adds their ids to stored.
func (c Clients) Add(ctx context.Context, objects *Objects, limit int, stored *IDs) (Result, error) {
	text() // not while time is measured
	return c.Run(ctx, limit, func(ctx context.Context) (size int64, err error) {
		batch, ids := make([]client.Object, c.Batch), make([][32]byte, c.Batch)
		for i := range batch {
			batch[i] = objects.Next()
			ids[i] = batch[i].ID
			size += int64(len(batch[i].Content))
		}
		if err := c.add(ctx, batch); err != nil {
			return 0, err
		}
		stored.Add(ids...)
		return size, nil
	})
}

func (c Clients) add(ctx context.Context, batch []client.Object) error {
	if len(batch) == 1 {
		return c.To.Add(ctx, batch[0].ID, batch[0].Content)
	}
	_, _, err := c.To.AddBatch(ctx, batch)
	return err
}

// Get reads objects, which are drawn from ids, until the time is over or ctx ends,
// which is no error, or until limit objects are read.
func (c Clients) Get(ctx context.Context, ids *IDs, limit int) (Result, error) {
	return c.Run(ctx, limit, func(ctx context.Context) (int64, error) {
		batch, err := ids.draw(c.Batch)
		if err != nil {
			return 0, err
		}
		return c.get(ctx, batch)
	})
}

func (c Clients) get(ctx context.Context, batch [][32]byte) (size int64, err error) {
	if len(batch) == 1 {
		content, err := c.To.Get(ctx, batch[0])
		return int64(len(content)), err
	}
	contents, err := c.To.GetBatch(ctx, batch)
	for i, content := range contents {
		if content == nil {
			return 0, fmt.Errorf("object %x: %w", batch[i], client.ErrNotFound)
		}
		size += int64(len(content))
	}
	return size, err
}

// Run has each client call request, which is for Batch objects and returns their bytes,
// until the time is over, ctx ends or limit objects are done; at least once, however short
// the time is. What is in flight then is completed, and counts.
func (c Clients) Run(ctx context.Context, limit int, request func(context.Context) (size int64, err error)) (Result, error) {
	if c.Count < 1 || c.Batch < 1 {
		return Result{}, errors.New("a load needs at least one client, and one object in a request")
	}
	each := make([]Result, c.Count)
	for i := range each {
		each[i] = newResult()
	}
	whole := ctx
	if c.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Time)
		defer cancel()
	}
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(limit))
	work, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	for i := range each {
		work.Go(func() error {
			goOn := func(first bool) bool { return failed.Err() == nil && (ctx.Err() == nil || first && whole.Err() == nil) }
			for first := true; goOn(first) && left.Add(-int64(c.Batch)) >= 0; first = false {
				if err := each[i].measure(failed, c.Batch, request); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := work.Wait()
	all := newResult()
	for _, r := range each {
		all.add(r)
	}
	all.Took = time.Since(began)
	return all, err
}

// measure sends one request.
func (r *Result) measure(ctx context.Context, objects int, request func(context.Context) (int64, error)) error {
	sent := time.Now()
	var firstByte time.Duration
	trace := httptrace.ClientTrace{GotFirstResponseByte: func() { firstByte = time.Since(sent) }}
	size, err := request(httptrace.WithClientTrace(ctx, &trace))
	if err != nil {
		return err
	}
	r.Objects += int64(objects)
	r.Bytes += size
	if firstByte == 0 { // the store does not trace it
		firstByte = time.Since(sent)
	}
	return errors.Join(record(r.FirstByte, firstByte), record(r.Latency, time.Since(sent)))
}
