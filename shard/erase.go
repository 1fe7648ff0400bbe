// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"winery/format"
)

// Erase implements [format.Format]. It overwrites the objects with zeros, and reads
// back the zeros, from img, before it lets go of an object's entry. Where objects
// overlap, an entry leads nowhere, or a length leaves bytes out, nothing is written
// and a *format.DamageError returned. With inFlight 1 reads and writes come in the
// order of the objects in the image.
func (Format) Erase(ctx context.Context, img format.Device, size int64, name string, inFlight int, ids []format.ObjID) (erased int, err error) {
	r, err := Open(img, size, name)
	if err != nil {
		return 0, err
	}
	e := eraser{Reader: r, img: img, inFlight: inFlight}
	if err := e.find(ctx, ids); err != nil {
		return 0, err
	}
	if len(e.victims) == 0 {
		return 0, e.unreadable.OrNil()
	}
	// Each step is flushed before the next begins: an object that still has its
	// entry can be found again, and one that still has its length can be zeroed
	// again. An entry can straddle two pages, of which a power cut may keep one:
	// the mark, a single byte that is written before, identifies an erased entry
	// whatever its other bytes are.
	for _, step := range []func(context.Context, victim) error{e.zeroContent, e.zeroLength, e.markEntry, e.removeEntry} {
		if err := format.Each(ctx, e.inFlight, e.victims, step); err != nil {
			return 0, err
		}
		if err := img.Flush(); err != nil {
			return 0, fmt.Errorf("flushing shard image %s: %w", name, err)
		}
	}
	return len(e.victims), e.unreadable.OrNil()
}

// victim is an object that is not wholly erased.
type victim struct {
	id             format.ObjID
	slot, position int64 // the position is 0 if the entry alone is left
	size           int64
	doubtful       bool // its bytes have not the SHA-256 of its id: it is damaged, or half erased
}

func (v victim) onlyEntry() bool { return v.position == 0 }

func (v victim) end() int64 { return v.position + lengthSize + v.size }

type eraser struct {
	*Reader
	img      format.Device
	inFlight int

	unreadable *format.UnreadableError // objects that stay

	mu      sync.Mutex // for the following, while victims are looked up
	victims []victim   // by position
}

// find looks up the victims, and makes sure that no other object would suffer.
func (e *eraser) find(ctx context.Context, ids []format.ObjID) (err error) {
	e.unreadable, err = format.EachReadable(ctx, e.inFlight, e.name, ids, headSize, lengthSize, e.lookUp)
	if err != nil {
		return err
	}
	slices.SortFunc(e.victims, func(a, b victim) int {
		return cmp.Or(cmp.Compare(a.position, b.position), cmp.Compare(a.slot, b.slot))
	})
	e.victims = slices.CompactFunc(e.victims, func(a, b victim) bool { return a.slot == b.slot })
	if !slices.ContainsFunc(e.victims, func(v victim) bool { return v.doubtful }) {
		return nil
	}
	// Damaged, or partly erased by an earlier call: the other objects must prove
	// which. Where they cannot be read, such an object stays.
	err = e.checkNeighbours(ctx, slices.DeleteFunc(slices.Clone(e.victims), victim.onlyEntry))
	if !errors.Is(err, unix.EIO) {
		return err
	}
	e.victims = slices.DeleteFunc(e.victims, func(v victim) bool {
		if v.doubtful {
			e.unreadable.Add(err, v.id)
		}
		return v.doubtful
	})
	return nil
}

// lookUp adds an object to the victims, if the image has it. It reads up to first bytes
// before it knows the object's length.
func (e *eraser) lookUp(ctx context.Context, id format.ObjID, first int) error {
	buf := make([]byte, headSize)
	v := victim{id: id, slot: e.hash.slot(&id)}
	entry, used, err := e.entry(v.slot, buf)
	if err != nil {
		return err
	}
	if *entry == unused || used && entry.key() != id {
		return nil
	}
	if used { // else an earlier call was cut short at its end
		v.position = int64(entry.position())
		in := span{Reader: e.Reader, buf: buf[:first], next: v.position, end: e.info.IndexPosition}
		if v.size, err = in.length(ctx, e.info.IndexPosition); err != nil {
			return err
		}
		in.end = v.end()
		if v.size > int64(first) {
			in.buf = make([]byte, min(v.size, blockSize))
		}
		sum, err := in.sum(ctx, v.size)
		if err != nil {
			return err
		}
		v.doubtful = sum != id
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.victims = append(e.victims, v)
	return nil
}

// checkNeighbours makes sure that the victims overlap no other object, and that
// only zeros are between them and the nearest objects: bytes that a wrong length
// omits would otherwise stay in the image for ever, although the object counts as
// erased.
func (e *eraser) checkNeighbours(ctx context.Context, victims []victim) error {
	before := make([]int64, len(victims)) // position of the object before each
	after := slices.Repeat([]int64{e.info.IndexPosition}, len(victims))
	err := e.scan(ctx, func(slot int64, other *entry) error {
		p := int64(other.position())
		i, same := slices.BinarySearchFunc(victims, p, func(v victim, p int64) int { return cmp.Compare(v.position, p) })
		if same && victims[i].slot != slot || i > 0 && victims[i-1].end() > p {
			return e.damaged(p, "another object starts within an object to be erased")
		}
		if i > 0 {
			after[i-1] = min(after[i-1], p)
		}
		if same {
			i++
		}
		if i < len(before) {
			before[i] = max(before[i], p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	buf := make([]byte, len(zeroBytes))
	part := func(from, to int64) *span { return &span{Reader: e.Reader, buf: buf, next: from, end: to} }
	for i, v := range victims {
		free := int64(headerSize)
		if p := before[i]; p > 0 {
			size, err := part(p, min(p+lengthSize, e.info.IndexPosition)).length(ctx, v.position)
			if err != nil {
				return err
			}
			free = p + lengthSize + size
		}
		if err := part(free, v.position).zeros(ctx, v.position-free); err != nil {
			return err
		}
		if err := part(v.end(), after[i]).zeros(ctx, after[i]-v.end()); err != nil {
			return err
		}
	}
	return nil
}

func (e *eraser) zeroContent(_ context.Context, v victim) error {
	zeros := make([]byte, min(v.size, blockSize))
	for at := v.position + lengthSize; at < v.end(); at += blockSize {
		if err := e.write(zeros[:min(blockSize, v.end()-at)], at); err != nil {
			return err
		}
	}
	return nil
}

func (e *eraser) zeroLength(ctx context.Context, v victim) error {
	if v.onlyEntry() {
		return nil
	}
	in := span{Reader: e.Reader, buf: make([]byte, min(v.size, blockSize)), next: v.position + lengthSize, end: v.end()}
	if err := in.zeros(ctx, v.size); err != nil {
		return fmt.Errorf("reading back the zeros over object %x: %w", v.id, err)
	}
	return e.write(make([]byte, lengthSize), v.position)
}

func (e *eraser) markEntry(_ context.Context, v victim) error {
	return e.write([]byte{erasedMark}, e.slotOffset(v.slot)+keySize)
}

func (e *eraser) removeEntry(_ context.Context, v victim) error {
	return e.write(unused[:], e.slotOffset(v.slot))
}

func (e *eraser) write(p []byte, at int64) error {
	if _, err := e.img.WriteAt(p, at); err != nil {
		return fmt.Errorf("writing %d bytes of shard image %s at %d: %w", len(p), e.name, at, err)
	}
	return nil
}
