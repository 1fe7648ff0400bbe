// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// verifiers hash at once; each reads up to blockSize bytes at a time.
const verifiers = 4

// sampleBuffer is what Sample reads of an object at once.
const sampleBuffer = 64 << 10

// Counts is what Verify found.
type Counts struct {
	Objects int64 // objects that can be read
	Deleted int64 // objects that the image was written with and that are erased
	Bytes   int64 // content of Objects
}

// Verify reads the whole image and returns nil only if it holds what a Writer
// wrote and Erase left: every key is found by its hash, every content has
// its key for SHA-256, and every byte between the objects is zero and belongs
// to an erased object. Progress, unless nil, is called with the bytes read
// since its last call, Info().ObjectsSize in all; calls do not overlap.
// Verify takes 16 MiB, and 40 bytes an object, outside Go's heap.
func (r *Reader) Verify(ctx context.Context, progress func(bytes int64)) (Counts, error) {
	t := newTable()
	defer t.free()
	err := r.scan(ctx, func(_ int64, e *entry) error {
		if int64(len(t.entries)) == r.info.Objects {
			return r.damaged(atObjects, "the index has more than %d objects", r.info.Objects)
		}
		return t.append(*e)
	})
	if err != nil {
		return Counts{}, err
	}
	t.sortByPosition()
	found, err := r.verifyObjects(ctx, t.entries, progress)
	if err != nil {
		return Counts{}, err
	}
	// Several erased objects in a row are one gap, of a length's bytes each at least.
	deleted := r.info.Objects - found.objects
	if found.gaps > deleted || found.gapBytes < deleted*lengthSize {
		return Counts{}, r.damaged(atObjects, "%d objects instead of %d, but %d gaps of %d bytes",
			found.objects, r.info.Objects, found.gaps, found.gapBytes)
	}
	return Counts{Objects: found.objects, Deleted: deleted, Bytes: found.bytes}, nil
}

// findings counts what lies between the header and the index.
type findings struct {
	objects, bytes int64
	gaps, gapBytes int64
}

// verifyObjects reads all objects, given in the order of their positions.
func (r *Reader) verifyObjects(ctx context.Context, objects []entry, progress func(int64)) (findings, error) {
	room, err := reallocate[byte](nil, verifiers*blockSize)
	if err != nil {
		return findings{}, err
	}
	defer func() { _, _ = reallocate(room, 0) }()
	var (
		mu    sync.Mutex
		total findings
	)
	report := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		progress(n)
	}
	if progress == nil {
		report = nil
	}
	g, ctx := errgroup.WithContext(ctx)
	extents := make(chan extent)
	g.Go(func() error {
		defer close(extents)
		return r.split(ctx, objects, extents)
	})
	for i := range verifiers {
		g.Go(func() error {
			var mine findings
			buf := room[i*blockSize:][:blockSize]
			for x := range extents {
				if err := r.verifyExtent(ctx, x, buf, report, &mine); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(mine)
			return nil
		})
	}
	err = g.Wait()
	return total, err
}

func (f *findings) add(g findings) {
	f.objects += g.objects
	f.bytes += g.bytes
	f.gaps += g.gaps
	f.gapBytes += g.gapBytes
}

// extent is a run of bytes with the objects that start in it.
type extent struct {
	start, end int64
	objects    []entry
}

// split sends extents that cover all objects and gaps, most of about blockSize.
func (r *Reader) split(ctx context.Context, objects []entry, out chan<- extent) error {
	send := func(x extent) error {
		select {
		case out <- x:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	start, first := int64(headerSize), 0
	for i := range objects {
		if p := int64(objects[i].position()); p-start >= blockSize {
			if err := send(extent{start, p, objects[first:i]}); err != nil {
				return err
			}
			start, first = p, i
		}
	}
	return send(extent{start, r.info.IndexPosition, objects[first:]})
}

func (r *Reader) verifyExtent(ctx context.Context, x extent, buf []byte, report func(int64), found *findings) error {
	in := span{Reader: r, buf: buf, next: x.start, end: x.end, report: report}
	for i := range x.objects {
		position, end := int64(x.objects[i].position()), x.end
		if i+1 < len(x.objects) {
			end = int64(x.objects[i+1].position())
		}
		if err := in.gap(ctx, position, found); err != nil {
			return err
		}
		size, err := in.object(ctx, x.objects[i].key(), end)
		if err != nil {
			return err
		}
		found.objects++
		found.bytes += size
	}
	return in.gap(ctx, x.end, found)
}

// gap reads the zeros up to an object.
func (s *span) gap(ctx context.Context, until int64, found *findings) error {
	n := until - s.at()
	if n > 0 {
		found.gaps++
		found.gapBytes += n
	}
	return s.zeros(ctx, n)
}

// Sample checks n objects spread over the index as Verify does each, and reads
// no others.
func (r *Reader) Sample(ctx context.Context, n int) error {
	buf := make([]byte, sampleBuffer)
	for i := range int64(n) {
		first, after := i*r.info.IndexSlots/int64(n), (i+1)*r.info.IndexSlots/int64(n)
		for slot := first; slot < after; slot++ {
			used, err := r.sampleSlot(ctx, slot, buf)
			if err != nil {
				return err
			}
			if used {
				break
			}
		}
	}
	return nil
}

// sampleSlot checks the object of a slot, if it has one.
func (r *Reader) sampleSlot(ctx context.Context, slot int64, buf []byte) (used bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	e, used, err := r.entry(slot, buf)
	if err != nil || !used {
		return false, err
	}
	id := e.key()
	in := span{Reader: r, buf: buf, next: int64(e.position()), end: r.info.IndexPosition}
	_, err = in.object(ctx, id, r.info.IndexPosition)
	return true, err
}
