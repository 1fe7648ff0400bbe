// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"winery/format"
	"winery/internal/hashcache"
	"winery/internal/metrics"
	"winery/pool"
	"winery/sharedbase"
)

// unmappedFor is how long "not mapped" is believed, so that a host without a
// mapper, which reads from tables, does not ask its devices for every object.
const unmappedFor = time.Second

// contentMemory is the default of Options.Memory: httpapi.AnswerMemory.
const contentMemory = 512 << 20

// images keeps the images open that were used last. Their hash functions are in
// memory, or in the cache on disk where that has them: then opening an image reads
// nothing of it. Where a cached hash function does not lead to an object, the next
// attempt opens the image itself. An image is opened once, however many readers want it. It is
// dropped for one used more recently, and after a read error, so that the next
// reader opens it again: the device may have been mapped again, or the image
// repaired. A dropped image is closed when its last reader is done.
//
// The index of an image is read each time, so an object that is erased is not
// found in open images either.
//
// Each call into an image passes its gate. A caller whose context ends leaves at
// once; its call keeps its slot and its memory, and the image stays open, until the
// call returns. An image that is opened again meanwhile has the same gate: a dropped
// image that hangs takes no more slots than before, and counts once.
type images struct {
	limit     int // images kept open, besides those dropped while in use
	hangAfter time.Duration
	// calls and late are how many may be in flight to the images of one pool: see slots.
	calls, late int
	hashes      *hashcache.Cache
	metrics     *metrics.Client
	log         *slog.Logger

	memory     *semaphore.Weighted // of contents that calls read
	memorySize int64

	mu       sync.Mutex
	open     map[imageKey]*image
	gates    map[imageKey]*gate     // of images in use, dropped ones included
	order    list.List              // of *image, last used first
	unmapped map[imageKey]time.Time // when the pool said so
	slots    map[string]*slots      // by pool: its calls in flight
	hanging  map[string]int         // by pool: images that hang

	background sync.WaitGroup // calls into images
}

type imageKey struct{ pool, shard string }

type image struct {
	key    imageKey
	since  time.Time     // it was opened after that
	itself bool          // without the cache of hash functions, and that of the pool
	ready  chan struct{} // closed once reader or err is there
	gate   *gate
	file   pool.Image
	head   *os.File // of the cache; nil where the image was read instead
	reader format.Getter
	err    error

	// Guarded by images.mu:
	place *list.Element // nil when dropped
	uses  int           // readers, the loader, and 1 for a place
}

func newImages(o Options) *images {
	memory := cmp.Or(o.Memory, contentMemory)
	calls, late := callsOfPool(o)
	return &images{
		limit:     max(o.CacheSize, 1),
		hangAfter: cmp.Or(o.HangAfter, defaultHangAfter),
		hashes:    o.Hashes,
		metrics:   o.Metrics,
		log:       o.Log,
		memory:    semaphore.NewWeighted(memory), memorySize: memory,
		open:     make(map[imageKey]*image),
		gates:    make(map[imageKey]*gate),
		unmapped: make(map[imageKey]time.Time),
		calls:    calls, late: late,
		slots:   make(map[string]*slots),
		hanging: make(map[string]int),
	}
}

// get returns what is wanted of an object of the image of a shard: only of one that was
// opened after newerThan can an object be hashed. Errors are those of inImage.
func (c *images) get(ctx context.Context, p pool.Pool, name string, w want, newerThan time.Time) (sharedbase.Content, error) {
	return inImage(ctx, c, p, name, newerThan, w.bytes, w.counted(c.metrics), func(r format.Getter) (found sharedbase.Content, err error) {
		if w.part == hashed {
			found.Size, err = r.(format.Reader).Check(ctx, w.id)
			return found, err
		}
		found.Size, found.Bytes, err = r.GetUpTo(w.id, w.atMost())
		switch {
		case err != nil:
		case found.Size >= impossibleSize:
			err = errImpossibleSize
		case w.part == whole && found.Bytes == nil:
			err = errSize
		default:
			err = verify(w.id, found)
		}
		return found, err
	})
}

// inImage calls read with the image of a shard, which was opened, or said to be
// not mapped, after newerThan: with the image itself, unless newerThan is zero. Errors: [pool.ErrNotMapped],
// ErrImageUnavailable, *format.DamageError, [format.ErrStaleHead] where newerThan is
// zero, those of the device and of read. An
// error of read other than [format.ErrNotFound] makes the next caller open the
// image again. The request is counted in count. When ctx ends, or the image
// hangs, inImage returns and leaves read behind, with the bytes that read may
// allocate: read must not write to what its caller uses.
func inImage[T any](ctx context.Context, c *images, p pool.Pool, name string, newerThan time.Time, bytes int64, count *metrics.Client,
	read func(format.Getter) (T, error)) (result T, err error) {
	im, found, isNew := c.acquire(p, name, newerThan)
	if im == nil {
		count.ImageRequested(p.Name(), found)
		return result, pool.ErrNotMapped
	}
	hung, err := im.gate.begin()
	if isNew { // in the background, because other readers wait for it, too
		began := err
		c.background.Go(func() { c.load(im, p, hung, began) })
	}
	if err == nil {
		select {
		case <-im.ready:
			err = im.err
		case <-hung:
			err = im.gate.hangError()
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if errors.Is(err, pool.ErrNotMapped) {
		found = metrics.Fallthrough
	}
	count.ImageRequested(p.Name(), found)
	bytes = min(bytes, c.memorySize)
	var entered *call
	if err == nil {
		entered, err = c.enter(ctx, im, bytes, hung)
	}
	if err != nil {
		c.refused(im, err)
		c.release(im)
		return result, err
	}
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	c.background.Go(func() {
		defer c.release(im)
		defer im.gate.leave(entered)
		result, err := read(im.reader)
		c.memory.Release(bytes) // before the caller returns its own charge
		if err != nil && !errors.Is(err, format.ErrNotFound) {
			c.drop(im)
		}
		if errors.Is(err, format.ErrStaleHead) {
			c.hashes.Stale(im.key.pool)
		}
		done <- outcome{result, err}
	})
	select {
	case o := <-done:
		return o.result, o.err
	case <-hung:
		err = im.gate.hangError()
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.refused(im, err)
	return result, err
}

// enter takes memory for a call that reads so many bytes, without waiting, and enters
// the gate of the image. While all callers wait, they have less memory than there is:
// what lacks is held by calls that were left behind.
func (c *images) enter(ctx context.Context, im *image, bytes int64, hung <-chan struct{}) (*call, error) {
	if !c.memory.TryAcquire(bytes) {
		return nil, fmt.Errorf("%w: reads that do not return hold the memory for contents, %d bytes", ErrImageUnavailable, c.memorySize)
	}
	entered, err := im.gate.enter(ctx, hung)
	if err != nil {
		c.memory.Release(bytes)
	}
	return entered, err
}

// refused counts a read that was refused or cancelled.
func (c *images) refused(im *image, err error) {
	if errors.Is(err, ErrImageUnavailable) {
		c.metrics.ReadRefused(im.key.pool)
	}
}

// acquire returns the image, which may still be loading, or nil if it is not
// mapped, and how it was found. The caller releases it. One that is new the caller loads.
func (c *images) acquire(p pool.Pool, name string, newerThan time.Time) (im *image, found metrics.Cache, isNew bool) {
	key := imageKey{p.Name(), name}
	c.mu.Lock()
	defer c.mu.Unlock()
	itself := !newerThan.IsZero()
	if im := c.open[key]; im != nil && (im.since.Before(newerThan) || itself && !im.itself) {
		c.forget(im)
	} else if im != nil {
		c.order.MoveToFront(im.place)
		im.uses++
		return im, metrics.Hit, false
	}
	if asked, ok := c.unmapped[key]; ok && !asked.Before(newerThan) && time.Since(asked) < unmappedFor {
		return nil, metrics.Fallthrough, false
	}
	delete(c.unmapped, key)
	im = &image{key: key, since: time.Now(), itself: itself, ready: make(chan struct{}), gate: c.gateOf(key), uses: 3}
	im.place = c.order.PushFront(im)
	c.open[key] = im
	if c.order.Len() > c.limit {
		c.forget(c.order.Back().Value.(*image))
	}
	return im, metrics.Miss, true
}

// callsOfPool returns how many calls may be in flight to the images of a pool, and how many
// late ones besides.
func callsOfPool(o Options) (calls, late int) {
	if o.Calls == 0 || len(o.Pools) == 0 {
		return poolCalls, 0
	}
	all := max(1, o.Calls/len(o.Pools))
	calls = min(poolCalls, all)
	return calls, all - calls
}

// gateOf returns the gate of an image for one more opening of it. It needs c.mu.
func (c *images) gateOf(key imageKey) *gate {
	g := c.gates[key]
	if g == nil {
		ofPool := c.slots[key.pool]
		if ofPool == nil {
			ofPool = &slots{calls: make(chan struct{}, c.calls), late: make(chan struct{}, c.late)}
			c.slots[key.pool] = ofPool
		}
		g = newGate(ofPool, c.hangAfter, func(hangs bool, calls int, silent time.Duration) {
			c.noteHang(key, hangs, calls, silent)
		})
		c.gates[key] = g
	}
	g.openings++
	return g
}

// noteHang logs once that an image hangs, and once that it answers again.
func (c *images) noteHang(key imageKey, hangs bool, calls int, silent time.Duration) {
	log := c.log.With("shard", key.shard, "pool", key.pool, "calls", calls, "duration", silent.Round(time.Millisecond))
	change := 1
	if hangs {
		log.Warn("image does not answer; reads from it are refused until it does")
	} else {
		change = -1
		log.Info("image answers again")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hanging[key.pool] += change
	c.metrics.ImagesHanging(key.pool, c.hanging[key.pool])
}

// load opens an image, unless err is set. hung and err are of the gate, for the first reader
// of the image.
func (c *images) load(im *image, p pool.Pool, hung <-chan struct{}, err error) {
	defer c.release(im)
	start := time.Now()
	var read format.Reader
	ctx := context.Background()
	if im.itself { // what was read before may be a wrong answer of the store, in a cache of the pool
		ctx = pool.WithoutCache(ctx)
	}
	var entered *call
	if im.err = err; err == nil {
		entered, im.err = im.gate.enter(ctx, hung)
	}
	if entered != nil {
		im.file, im.err = p.OpenMapped(ctx, im.key.shard)
		if im.err == nil {
			read = c.openReader(im, p.Format())
		}
		im.gate.leave(entered)
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
	if read != nil {
		c.hashes.Put(im.key.pool, im.key.shard, read.CacheHead)
	}
}

// openReader sets the reader of an image or its error. It returns the reader if it read
// the image, rather than the cache.
func (c *images) openReader(im *image, f format.Format) format.Reader {
	name, src := im.key.shard, progress{im.file, im.gate}
	if !im.itself {
		if im.head = c.hashes.Get(im.key.pool, name); im.head != nil {
			if im.reader, im.err = f.OpenCached(im.head, src, name); im.err == nil {
				return nil
			}
			c.hashes.Stale(im.key.pool)
		}
	}
	var read format.Reader
	if read, im.err = f.Open(src, im.file.Size(), name); im.err != nil {
		return nil
	}
	im.reader = read
	return read
}

func (c *images) noteUnmapped(key imageKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unmapped) >= c.limit {
		clear(c.unmapped)
	}
	c.unmapped[key] = time.Now()
}

// drop makes later callers open the image again.
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

// unuse needs c.mu. Closing may take time, so it happens in the background. It
// waits for a slot of the pool, because it holds a thread like a read.
func (c *images) unuse(im *image) {
	if im.uses--; im.uses > 0 {
		return
	}
	if im.gate.openings--; im.gate.openings == 0 {
		delete(c.gates, im.key)
	}
	if im.file == nil {
		return
	}
	calls := c.slots[im.key.pool].calls
	c.background.Go(func() {
		calls <- struct{}{}
		im.file.Close()
		<-calls
		if im.head != nil {
			_ = im.head.Close()
		}
	})
}

// close closes all images. No get may be in flight. Calls that do not return
// even now are left behind.
func (c *images) close() {
	c.mu.Lock()
	for c.order.Len() > 0 {
		c.forget(c.order.Back().Value.(*image))
	}
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.background.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(c.hangAfter):
		c.log.Warn("calls to images do not return; closing without them")
	}
}
