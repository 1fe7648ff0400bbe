// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"winery/format"
)

// verifiers hash at once; each reads up to blockSize bytes at a time.
const verifiers = 4

// sampleBuffer is what Check reads of an object at once.
const sampleBuffer = 64 << 10

// Verify implements [format.Reader]. Every byte between the objects must be zero and
// belong to an erased object. It takes 16 MiB, and 40 bytes an object, outside Go's
// heap.
func (r *Reader) Verify(ctx context.Context, progress func(bytes int64)) (format.Counts, error) {
	v := &verification{Reader: r, progress: progress, bad: func(d format.Damage) error { return d.DamageError }}
	return v.run(ctx)
}

// verification is a reading of the whole image.
type verification struct {
	*Reader
	progress func(bytes int64)
	bad      func(format.Damage) error // its error ends the reading
	patient  bool                      // attribute damage to an object, and continue

	mu          sync.Mutex // for all below, and the calls of progress and bad
	found       findings
	damages     int
	unexplained *format.DamageError // the first between objects that are well by themselves
}

// findings counts the contents between the header and the index.
type findings struct {
	objects, bytes int64
	gaps, gapBytes int64
}

func (v *verification) run(ctx context.Context) (format.Counts, error) {
	t := &table{}
	defer t.Free()
	err := v.scanAll(ctx, func(_ int64, e *entry, damage error) error {
		if damage == nil && int64(len(t.Entries)) == v.info.Objects {
			damage = v.damaged(atObjects, "the index has more than %d objects", v.info.Objects)
		}
		if damage != nil {
			return v.blame(format.ObjID{}, damage)
		}
		return t.Append(*e)
	})
	if err != nil {
		return format.Counts{}, err
	}
	t.sortByPosition()
	if err := v.objects(ctx, t.Entries); err != nil {
		return format.Counts{}, err
	}
	// Several erased objects in a row are one gap, of a length's bytes each at least.
	found, deleted := v.found, v.info.Objects-v.found.objects
	if v.unexplained == nil && (found.gaps > deleted || found.gapBytes < deleted*lengthSize) {
		err = v.between(v.damaged(atObjects, "%d objects instead of %d, and %d gaps of %d bytes",
			found.objects, v.info.Objects, found.gaps, found.gapBytes))
	}
	if v.damages == 0 && v.unexplained != nil {
		err = v.blame(format.ObjID{}, v.unexplained)
	}
	return format.Counts{Objects: found.objects, Deleted: deleted, Bytes: found.bytes}, err
}

// blame reports damage of an object, or with the zero id of something else.
// Other errors it returns.
func (v *verification) blame(id format.ObjID, err error) error {
	var damage *format.DamageError
	if !errors.As(err, &damage) {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.damages++
	return v.bad(format.Damage{ID: id, DamageError: damage})
}

// between handles what is wrong between two objects. One of them may be to
// blame, which shows when all have been read.
func (v *verification) between(err error) error {
	var damage *format.DamageError
	if !v.patient || !errors.As(err, &damage) {
		return v.blame(format.ObjID{}, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unexplained == nil || damage.Offset < v.unexplained.Offset {
		v.unexplained = damage
	}
	return nil
}

// objects reads all objects, given in the order of their positions.
func (v *verification) objects(ctx context.Context, objects []entry) error {
	room, err := format.Reallocate[byte](nil, verifiers*blockSize)
	if err != nil {
		return err
	}
	defer func() { _, _ = format.Reallocate(room, 0) }()
	g, ctx := errgroup.WithContext(ctx)
	extents := make(chan extent)
	g.Go(func() error {
		defer close(extents)
		return v.split(ctx, objects, extents)
	})
	for i := range verifiers {
		g.Go(func() error {
			var mine findings
			buf := room[i*blockSize:][:blockSize]
			for x := range extents {
				if err := v.extent(ctx, x, buf, &mine); err != nil {
					return err
				}
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			v.found.add(mine)
			return nil
		})
	}
	return g.Wait()
}

func (v *verification) report(bytes int64) {
	if v.progress != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.progress(bytes)
	}
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

// extentSize is the least size of most extents. Their ends are seldom those of
// blocks: in large extents, few blocks are read in two parts.
const extentSize = 4 * blockSize

// split sends extents that cover all objects and gaps.
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
		if p := int64(objects[i].position()); p-start >= extentSize {
			if err := send(extent{start, p, objects[first:i]}); err != nil {
				return err
			}
			start, first = p, i
		}
	}
	return send(extent{start, r.info.IndexPosition, objects[first:]})
}

func (v *verification) extent(ctx context.Context, x extent, buf []byte, found *findings) error {
	in := span{Reader: v.Reader, buf: buf, next: x.start, end: x.end, report: v.report}
	for i := range x.objects {
		id, position, end := x.objects[i].key(), int64(x.objects[i].position()), x.end
		if i+1 < len(x.objects) {
			end = int64(x.objects[i+1].position())
		}
		if err := in.gap(ctx, position, found); err != nil {
			if err := v.between(err); err != nil {
				return err
			}
			in.seek(position)
		}
		size, err := in.object(ctx, id, end)
		if err != nil {
			if size, err = v.alone(ctx, id, position, err); err != nil {
				return err
			}
			in.seek(end)
		}
		if size >= 0 {
			found.objects++
			found.bytes += size
		}
	}
	if err := in.gap(ctx, x.end, found); err != nil {
		return v.between(err)
	}
	return nil
}

// alone judges an object, which failed with err among its neighbours, by itself.
// Its size is -1 if it is damaged.
func (v *verification) alone(ctx context.Context, id format.ObjID, position int64, err error) (size int64, _ error) {
	if v.patient && errors.As(err, new(*format.DamageError)) {
		size, damage := v.checkObject(ctx, id, position, make([]byte, sampleBuffer))
		if damage == nil {
			return size, v.between(err)
		}
		err = damage
	}
	return -1, v.blame(id, err)
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

// checkObject checks an object without regard to others, and returns its size.
func (r *Reader) checkObject(ctx context.Context, id format.ObjID, position int64, buf []byte) (int64, error) {
	in := span{Reader: r, buf: buf, next: position, end: r.info.IndexPosition}
	return in.object(ctx, id, r.info.IndexPosition)
}
