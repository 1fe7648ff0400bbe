// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"winery/internal/metrics"
	"winery/pool"
	"winery/shard"
)

// unmappedFor is how long "not mapped" is believed, so that a host without a
// mapper, which reads from tables, does not ask its devices for every object.
const unmappedFor = time.Second

// images keeps the shards' images open that were used last, with their hash
// functions in memory. An image is opened once however many want it, and
// closed when it has been dropped and the last who reads in it is done. It is
// dropped for one used more recently, and after a read error, so that the next
// reader opens it anew: the device may have been mapped again, or the image
// repaired.
//
// What an image holds is read each time; an object erased in it is gone for
// those that have it open, too.
type images struct {
	limit   int // images kept open, besides those dropped while in use
	metrics *metrics.Client

	mu       sync.Mutex
	open     map[imageKey]*image
	order    list.List              // of *image, last used first
	unmapped map[imageKey]time.Time // when the pool said so

	background sync.WaitGroup // loading and closing
}

type imageKey struct{ pool, shard string }

type image struct {
	key   imageKey
	ready chan struct{} // closed once reader or err is there
	file  pool.Image
	*shard.Reader
	err error

	// Guarded by images.mu:
	place *list.Element // nil when dropped
	uses  int           // readers, the loader, and 1 for a place
}

func newImages(limit int, m *metrics.Client) *images {
	return &images{
		limit:    max(limit, 1),
		metrics:  m,
		open:     make(map[imageKey]*image),
		unmapped: make(map[imageKey]time.Time),
	}
}

// get reads an object in the image of a shard. Errors: [pool.ErrNotMapped],
// [shard.ErrNotFound], *shard.DamageError, and those of the device. doubt asks
// the pool even if it has just said that the image is not mapped.
func (c *images) get(ctx context.Context, p pool.Pool, name string, id ObjID, doubt bool) ([]byte, error) {
	im, found := c.acquire(p, name, doubt)
	if im == nil {
		c.metrics.ImageRequested(p.Name(), found)
		return nil, pool.ErrNotMapped
	}
	defer c.release(im)
	select {
	case <-im.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if errors.Is(im.err, pool.ErrNotMapped) {
		found = metrics.Fallthrough
	}
	c.metrics.ImageRequested(p.Name(), found)
	if im.err != nil {
		return nil, im.err
	}
	content, err := im.Get(id)
	if err == nil {
		err = verify(id, content)
	}
	if err != nil && !errors.Is(err, shard.ErrNotFound) {
		c.drop(im)
	}
	return content, err
}

// acquire returns the image, which may still be loading, or nil if it is not
// mapped, and how it was found. The caller releases it.
func (c *images) acquire(p pool.Pool, name string, doubt bool) (*image, metrics.Cache) {
	key := imageKey{p.Name(), name}
	c.mu.Lock()
	defer c.mu.Unlock()
	if im := c.open[key]; im != nil {
		c.order.MoveToFront(im.place)
		im.uses++
		return im, metrics.Hit
	}
	if asked, ok := c.unmapped[key]; ok && !doubt && time.Since(asked) < unmappedFor {
		return nil, metrics.Fallthrough
	}
	delete(c.unmapped, key)
	im := &image{key: key, ready: make(chan struct{}), uses: 3}
	im.place = c.order.PushFront(im)
	c.open[key] = im
	if c.order.Len() > c.limit {
		c.forget(c.order.Back().Value.(*image))
	}
	// Not in the caller's name: others wait for it, too.
	c.background.Go(func() { c.load(im, p) })
	return im, metrics.Miss
}

func (c *images) load(im *image, p pool.Pool) {
	defer c.release(im)
	start := time.Now()
	im.file, im.err = p.OpenMapped(context.Background(), im.key.shard)
	if im.err == nil {
		im.Reader, im.err = shard.Open(im.file, im.file.Size(), im.key.shard)
	}
	failure := ""
	if im.err != nil {
		failure = "Error"
		c.drop(im)
	}
	if errors.Is(im.err, pool.ErrNotMapped) {
		failure = metrics.NotMapped
		c.noteUnmapped(im.key)
	}
	c.metrics.ImageOpened(p.Name(), time.Since(start), failure)
	close(im.ready)
}

func (c *images) noteUnmapped(key imageKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unmapped) >= c.limit {
		clear(c.unmapped)
	}
	c.unmapped[key] = time.Now()
}

// drop sees to it that the image is opened anew by those who come from now on.
func (c *images) drop(im *image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if im.place != nil {
		c.forget(im)
	}
}

func (c *images) release(im *image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unuse(im)
}

// forget needs c.mu, and an image that has its place.
func (c *images) forget(im *image) {
	delete(c.open, im.key)
	c.order.Remove(im.place)
	im.place = nil
	c.unuse(im)
}

// unuse needs c.mu. Closing may take its time, so it does not hold up others.
func (c *images) unuse(im *image) {
	if im.uses--; im.uses == 0 && im.file != nil {
		c.background.Go(func() { im.file.Close() })
	}
}

// close closes all images. No get may be under way.
func (c *images) close() {
	c.mu.Lock()
	for c.order.Len() > 0 {
		c.forget(c.order.Back().Value.(*image))
	}
	c.mu.Unlock()
	c.background.Wait()
}
