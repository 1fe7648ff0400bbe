// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"context"
	"errors"
	"sync"

	"winery/format"
)

// sampleBuffer is what Check reads of an object at once.
const sampleBuffer = 64 << 10

// Verify implements [format.Reader]. Every byte between the objects must be zero and
// belong to an erased object. It takes 16 MiB, and 40 bytes an object, outside Go's
// heap.
func (r *Reader) Verify(ctx context.Context, progress func(bytes int64)) (format.Counts, error) {
	v := &verification{Reader: r, Verification: format.Strict(progress)}
	return v.run(ctx)
}

// verification is a reading of the whole image.
type verification struct {
	*Reader
	*format.Verification

	mu    sync.Mutex
	found findings // under mu
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
			return v.Blame(format.ObjID{}, damage)
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
	if v.Unexplained == nil && (found.gaps > deleted || found.gapBytes < deleted*lengthSize) {
		err = v.Between(v.damaged(atObjects, "%d objects instead of %d, and %d gaps of %d bytes",
			found.objects, v.info.Objects, found.gaps, found.gapBytes))
	}
	if err == nil {
		err = v.End()
	}
	return format.Counts{Objects: found.objects, Deleted: deleted, Bytes: found.bytes}, err
}

// objects reads all objects, given in the order of their positions.
func (v *verification) objects(ctx context.Context, objects []entry) error {
	split := func(ctx context.Context, out chan<- extent) error { return v.split(ctx, objects, out) }
	return format.Extents(ctx, split, func(ctx context.Context, x extent, buf []byte) error {
		var found findings
		err := v.extent(ctx, x, buf, &found)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.found.add(found)
		return err
	})
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
	in := span{Reader: v.Reader, buf: buf, next: x.start, end: x.end, report: v.Report}
	for i := range x.objects {
		id, position, end := x.objects[i].key(), int64(x.objects[i].position()), x.end
		if i+1 < len(x.objects) {
			end = int64(x.objects[i+1].position())
		}
		if err := in.gap(ctx, position, found); err != nil {
			if err := v.Between(err); err != nil {
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
		return v.Between(err)
	}
	return nil
}

// alone judges an object, which failed with err among its neighbours, by itself.
// Its size is -1 if it is damaged.
func (v *verification) alone(ctx context.Context, id format.ObjID, position int64, err error) (size int64, _ error) {
	if v.Patient && errors.As(err, new(*format.DamageError)) {
		size, damage := v.checkObject(ctx, id, position, make([]byte, sampleBuffer))
		if damage == nil {
			return size, v.Between(err)
		}
		err = damage
	}
	return -1, v.Blame(id, err)
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
