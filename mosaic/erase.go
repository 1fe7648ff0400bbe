// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"winery/format"
)

// Erase implements [format.Format]. It overwrites the objects with zeros, and reads
// back the zeros, from img, before it lets go of an object's entry. Where an entry leads
// nowhere, or a damaged object's bytes may be another's, nothing is written and a
// *format.DamageError returned. With inFlight 1 reads and writes come in the order of
// the objects in the image. After an interrupted Erase, and where an object to be
// erased is damaged, the whole image is read. Where that cannot be read, the objects
// that are intact are erased, and an incomplete image stays incomplete.
func (Format) Erase(ctx context.Context, img format.Device, size int64, name string, inFlight int, ids []format.ObjID) (erased int, err error) {
	r, err := Open(img, size, name)
	if err != nil {
		return 0, err
	}
	e := eraser{Reader: r, img: img, inFlight: inFlight}
	if err := e.find(ctx, ids); err != nil {
		return 0, err
	}
	if len(e.victims) == 0 && !e.incomplete {
		return 0, e.unreadable.OrNil()
	}
	if e.incomplete || slices.ContainsFunc(e.victims, func(v victim) bool { return v.doubtful }) {
		err = e.survey(ctx)
		if errors.Is(err, unix.EIO) {
			err = e.withoutSurvey(ctx, err)
		}
	} else {
		err = e.change(ctx)
	}
	if err != nil {
		return 0, err
	}
	steps := []func(context.Context) error{e.markIndex, e.zeroContents, e.markEntries, e.voidObjects, e.removeEntries, e.unmarkIndex}
	if e.unfinished {
		steps = steps[:5]
	}
	if err := e.inSteps(ctx, steps...); err != nil {
		return 0, err
	}
	return len(e.victims), e.unreadable.OrNil()
}

// victim is an object that is to be erased.
type victim struct {
	object
	id       format.ObjID
	slot     int64
	size     int64  // of its content
	entry    []byte // as stored
	bytes    uint32 // remainder of its element as stored
	doubtful bool   // its content has not the SHA-256 of its id: it is damaged, or half erased
}

// voidCRC returns the remainder of the difference between the victim's element, and
// the Void element of as many zeros.
func (v victim) voidCRC() uint32 {
	head := appendHead(nil, idVoid, v.stored, int(v.start-v.position-1))
	return v.bytes ^ shift(remainder(updateCRC(noBytes, head)), v.stored)
}

type eraser struct {
	*Reader
	img      format.Device
	inFlight int

	unreadable *format.UnreadableError // objects that stay
	unfinished bool                    // the image will be incomplete

	mu      sync.Mutex // for the following, while victims are looked up
	victims []victim   // by position

	// What else is written: new checksums at their places, the counters, elements
	// of objects and entries that an interrupted call left.
	checksums map[int64]uint32
	counts    []byte
	orphans   []int64
	dirty     []int64 // slots
}

// inSteps takes steps, each of which is flushed before the next begins.
func (e *eraser) inSteps(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
		if err := e.img.Flush(); err != nil {
			return fmt.Errorf("flushing mosaic image %s: %w", e.name, err)
		}
	}
	return nil
}

// find looks up the victims.
func (e *eraser) find(ctx context.Context, ids []format.ObjID) (err error) {
	e.unreadable, err = format.EachReadable(ctx, e.inFlight, e.name, ids, headSize, maxHead, e.lookUp)
	if err != nil {
		return err
	}
	slices.SortFunc(e.victims, func(a, b victim) int {
		return cmp.Or(cmp.Compare(a.position, b.position), cmp.Compare(a.slot, b.slot))
	})
	e.victims = slices.CompactFunc(e.victims, func(a, b victim) bool { return a.slot == b.slot })
	for i := 1; i < len(e.victims); i++ {
		if v := e.victims[i]; e.victims[i-1].end() > v.position {
			return e.damaged(v.position, "another object starts within an object to be erased")
		}
	}
	return nil
}

// lookUp adds an object to the victims, if the image has it. It reads up to first bytes
// before it knows where the object ends.
func (e *eraser) lookUp(ctx context.Context, id format.ObjID, first int) error {
	buf := make([]byte, headSize)
	slot, position, err := e.locate(id, buf)
	if errors.Is(err, format.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v := victim{id: id, slot: slot, entry: slices.Clone(buf[:e.layout.entrySize()])}
	in := &span{Reader: e.Reader, buf: buf[:first], next: position, end: e.layout.index, crc: noBytes}
	h, err := in.head(ctx, e.layout.index)
	if err != nil {
		return err
	}
	if h.id != idObject {
		return e.damaged(position, "object %x has an element of another type, %x", id, uint32(h.id))
	}
	v.object = object{position: position, start: in.at(), stored: h.size}
	in.end = v.end()
	if h.size > int64(first) {
		in.buf = append(make([]byte, 0, min(h.size, inMemory)), in.ahead...)[:min(h.size, inMemory)]
		in.ahead = in.buf[:len(in.ahead)]
	}
	sum, size, err := in.content(ctx, h.size)
	v.size, v.doubtful = size, err != nil || sum != id
	if err != nil {
		if err := e.contentError(id, position, err); !errors.As(err, new(*format.DamageError)) {
			return err
		}
		in.seek(position)
		in.crc = noBytes
		if err := in.skip(ctx, v.end()-position); err != nil {
			return err
		}
	}
	v.bytes = remainder(in.crc)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.victims = append(e.victims, v)
	return nil
}

// change finds the new checksums and counters from the old ones and what changes.
func (e *eraser) change(ctx context.Context) error {
	objects, totalSize := e.metadata.objects, e.metadata.totalSize
	sum, err := e.storedIndexSum()
	if err != nil {
		return err
	}
	for _, v := range e.victims {
		objects--
		totalSize -= v.size
		removed := xor(v.entry, appendEntry(nil, &entry{}, e.layout.offsetSize))
		after := e.layout.end - e.layout.slotOffset(v.slot+1)
		sum ^= shift(remainder(updateCRC(noBytes, removed)), after)
	}
	if objects < 0 || totalSize < 0 {
		return e.damaged(e.layout.start+atCounter, "%d objects of %d bytes are counted, fewer than there are", e.metadata.objects, e.metadata.totalSize)
	}
	e.counts = e.metadata.recount(objects, totalSize)
	e.checksums = map[int64]uint32{e.layout.indexCRC: sum}
	victims := e.victims
	err = e.eachTile(ctx, func(t tile) error {
		for crc := t.crc; len(victims) > 0 && victims[0].position < t.end; victims = victims[1:] {
			v := victims[0]
			if v.end() > t.end {
				return e.damaged(v.position, "an object that ends at %d, beyond its tile", v.end())
			}
			crc ^= shift(v.voidCRC(), t.end-v.end())
			e.checksums[t.crcAt] = crc
		}
		if len(victims) == 0 {
			return errAllFound
		}
		return nil
	})
	if !errors.Is(err, errAllFound) {
		return err
	}
	return nil
}

// withoutSurvey leaves the doubtful victims, where cause says that the rest of the image cannot
// be read. Without victims it returns an error.
func (e *eraser) withoutSurvey(ctx context.Context, cause error) error {
	e.victims = slices.DeleteFunc(e.victims, func(v victim) bool {
		if v.doubtful {
			e.unreadable.Add(cause, v.id)
		}
		return v.doubtful
	})
	if len(e.victims) == 0 {
		return cmp.Or(e.unreadable.OrNil(), cause)
	}
	e.checksums, e.orphans, e.dirty = nil, nil, nil // as far as survey came
	if e.unfinished = e.incomplete; e.unfinished {
		return nil
	}
	return e.change(ctx)
}

var errAllFound = errors.New("the tiles of all victims are known")

func (e *eraser) storedIndexSum() (uint32, error) {
	var b [crcLength]byte
	err := e.read(b[:], e.layout.indexCRC)
	return binary.LittleEndian.Uint32(b[2:]), err
}

func xor(a, b []byte) []byte {
	for i := range b {
		b[i] ^= a[i]
	}
	return b
}

// markIndex says that checksums and counters mean nothing.
func (e *eraser) markIndex(context.Context) error {
	return e.write([]byte{byte(idVoid)}, e.layout.indexCRC)
}

func (e *eraser) unmarkIndex(context.Context) error {
	return e.write([]byte{byte(idCRC32)}, e.layout.indexCRC)
}

func (e *eraser) zeroContents(ctx context.Context) error {
	return format.Each(ctx, e.inFlight, e.victims, func(_ context.Context, v victim) error {
		zeros := make([]byte, min(v.stored, blockSize))
		for at := v.start; at < v.end(); at += blockSize {
			if err := e.write(zeros[:min(blockSize, v.end()-at)], at); err != nil {
				return err
			}
		}
		return nil
	})
}

// markEntries makes the objects not found.
func (e *eraser) markEntries(ctx context.Context) error {
	return format.Each(ctx, e.inFlight, e.victims, func(ctx context.Context, v victim) error {
		in := span{Reader: e.Reader, buf: make([]byte, min(v.stored, blockSize)), next: v.start, end: v.end()}
		if err := in.zeros(ctx, v.stored); err != nil {
			return fmt.Errorf("reading back the zeros over object %x: %w", v.id, err)
		}
		return e.write([]byte{byte(idVoid)}, e.layout.slotOffset(v.slot))
	})
}

func (e *eraser) voidObjects(ctx context.Context) error {
	for _, v := range e.victims {
		e.orphans = append(e.orphans, v.position)
	}
	return format.Each(ctx, e.inFlight, e.orphans, func(_ context.Context, position int64) error {
		return e.write([]byte{byte(idVoid)}, position)
	})
}

// removeEntries removes what is left of the entries, and writes checksums and counters.
func (e *eraser) removeEntries(ctx context.Context) error {
	for _, v := range e.victims {
		e.dirty = append(e.dirty, v.slot)
	}
	erased := appendEntry(nil, &entry{}, e.layout.offsetSize)
	err := format.Each(ctx, e.inFlight, e.dirty, func(_ context.Context, slot int64) error {
		return e.write(erased, e.layout.slotOffset(slot))
	})
	if err != nil {
		return err
	}
	for at, crc := range e.checksums {
		if err := e.write(binary.LittleEndian.AppendUint32(nil, crc), at+crcLength-4); err != nil {
			return err
		}
	}
	return e.write(e.counts, e.layout.start)
}

func (e *eraser) write(p []byte, at int64) error {
	if _, err := e.img.WriteAt(p, at); err != nil {
		return fmt.Errorf("writing %d bytes of mosaic image %s at %d: %w", len(p), e.name, at, err)
	}
	return nil
}
