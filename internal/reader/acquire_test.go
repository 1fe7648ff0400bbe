// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"winery/pool"
)

// A retry does not take an image that another reader opened by the cache meanwhile: its
// hash function may be as stale as before.
func TestRetryOpensTheImageItself(t *testing.T) {
	p := slowPool{opened: make(chan struct{})}
	c := newImages(Options{CacheSize: 10, Log: slog.New(slog.DiscardHandler)})
	acquire := func(newerThan time.Time) *image {
		im, _, isNew := c.acquire(p, "shard", newerThan)
		if isNew {
			c.background.Go(func() { c.load(im, p, nil, nil) })
		}
		return im
	}
	began := time.Now()
	first, second, retry, later, another := acquire(time.Time{}), acquire(time.Time{}), acquire(began), acquire(time.Time{}), acquire(began)
	if first != second || first == retry || first.itself || !retry.itself || retry != later || retry != another {
		t.Error("the retry shares an image that was opened by the cache, or others do not share its image")
	}
	close(p.opened)
	for _, im := range []*image{first, second, retry, later, another} {
		c.release(im)
	}
	c.close()
}

// slowPool answers an opening once opened is closed.
type slowPool struct {
	pool.Pool
	opened chan struct{}
}

func (slowPool) Name() string { return "slow" }

func (p slowPool) OpenMapped(context.Context, string) (pool.Image, error) {
	<-p.opened
	return nil, pool.ErrNotMapped
}
