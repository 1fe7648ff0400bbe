// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"sync"
	"time"

	"winery/internal/storage"
	"winery/pool"
)

// calls are those that some work makes to pools. What waits for something else, such as
// the rate, is not in a call.
type calls struct {
	mu       sync.Mutex
	inFlight int
	since    time.Time // when the first of these began, or another one returned
}

func (c *calls) begin() (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlight == 0 {
		c.since = time.Now()
	}
	c.inFlight++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.inFlight--
		c.since = time.Now()
	}
}

// silent is how long none of the calls in flight has returned.
func (c *calls) silent() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlight == 0 {
		return 0
	}
	return time.Since(c.since)
}

// watch returns the same pools, whose calls by a patrol are noted.
func (c *calls) watch(set storage.Set) storage.Set {
	watched := storage.Set{}
	for name, p := range set {
		watched[name] = watchedPool{p, c}
	}
	return watched
}

type watchedPool struct {
	pool.Pool
	in *calls
}

func (w watchedPool) Open(ctx context.Context, name string) (pool.Image, error) {
	defer w.in.begin()()
	return w.in.image(w.Pool.Open(ctx, name))
}

func (w watchedPool) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	defer w.in.begin()()
	return w.in.image(w.Pool.OpenMapped(ctx, name))
}

func (w watchedPool) Mapped(ctx context.Context) (map[string]bool, error) {
	defer w.in.begin()()
	return w.Pool.Mapped(ctx)
}

func (w watchedPool) Unmap(ctx context.Context, name string) error {
	defer w.in.begin()()
	return w.Pool.Unmap(ctx, name)
}

func (w watchedPool) Map(ctx context.Context, name string) error {
	defer w.in.begin()()
	return w.Pool.Map(ctx, name)
}

func (c *calls) image(img pool.Image, err error) (pool.Image, error) {
	if err != nil {
		return nil, err
	}
	return watchedImage{img, c}, nil
}

type watchedImage struct {
	pool.Image
	in *calls
}

func (w watchedImage) ReadAt(b []byte, at int64) (int, error) {
	defer w.in.begin()()
	return w.Image.ReadAt(b, at)
}

func (w watchedImage) Close() error {
	defer w.in.begin()()
	return w.Image.Close()
}
