// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sync"

	"winery/format"
)

const (
	// headSize is what GetUpTo reads at first: three objects of four are smaller.
	headSize = 16 << 10
	// believedSize is the length up to which GetUpTo allocates what an object says
	// that it needs; beyond it the content is hashed first.
	believedSize = 64 << 20
	scanEntries  = 1 << 15 // read at once when all are read
)

// Reader reads an image. It is safe for concurrent use if its source is, and
// holds nothing but memory: 2 to 3 bits an object.
//
// For a damaged image methods return a *format.DamageError; errors of the source
// are wrapped.
type Reader struct {
	src  io.ReaderAt
	name string
	info Layout
	hash *hash

	fingerprint [32]byte

	heads sync.Pool // of *[headSize]byte
}

// Open reads and checks the header and the hash function of an image on a
// device of size bytes. The name is for error messages.
func Open(src io.ReaderAt, size int64, name string) (*Reader, error) {
	r := newReader(src, name)
	header, err := r.readHeader(size)
	if err != nil {
		return nil, err
	}
	dump, err := r.readHash(size)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	sum.Write(header)
	sum.Write(dump)
	r.fingerprint = [32]byte(sum.Sum(nil))
	return r, nil
}

func newReader(src io.ReaderAt, name string) *Reader {
	r := &Reader{src: src, name: name}
	r.heads.New = func() any { return new([headSize]byte) }
	return r
}

// Fingerprint returns the SHA-256 of the image's header and hash function: what
// Erase leaves as it is, and what differs between images of different objects.
func (r *Reader) Fingerprint() [32]byte { return r.fingerprint }

// Info implements [format.Reader]: it is what the header says.
func (r *Reader) Info() format.Info { return r.info.Info }

// Layout returns where the parts of the image lie.
func (r *Reader) Layout() Layout { return r.info }

// Get is GetUpTo of an object of any size.
func (r *Reader) Get(id format.ObjID) ([]byte, error) {
	_, content, err := r.GetUpTo(id, math.MaxInt64)
	return content, err
}

// GetUpTo returns the size of an object's content, as the image says, and the content
// itself unless it is larger than atMost: then content is nil and is not read. A
// negative atMost asks for the size only. It does not compare the content's SHA-256
// with id, except where the object is larger than 64 MiB. format.ErrNotFound.
func (r *Reader) GetUpTo(id format.ObjID, atMost int64) (size int64, content []byte, err error) {
	buf := r.heads.Get().(*[headSize]byte)
	defer r.heads.Put(buf)
	_, position, err := r.locate(id, buf[:])
	if err != nil {
		return 0, nil, err
	}
	return r.objectAt(id, position, atMost, buf)
}

// objectAt is GetUpTo for an object at a position. It reads into buf.
func (r *Reader) objectAt(id format.ObjID, position, atMost int64, buf *[headSize]byte) (size int64, content []byte, err error) {
	head := buf[:min(headSize, r.info.IndexPosition-position)]
	if atMost < 0 {
		head = buf[:lengthSize]
	}
	if err := r.read(head, position); err != nil {
		return 0, nil, err
	}
	size, err = r.checkLength(head, position, r.info.IndexPosition)
	if err != nil || size > atMost {
		return size, nil, err
	}
	if size > believedSize {
		in := span{Reader: r, buf: make([]byte, 1<<20), next: position, end: r.info.IndexPosition}
		if _, err := in.object(context.Background(), id, r.info.IndexPosition); err != nil {
			return 0, nil, err
		}
	}
	content = make([]byte, size)
	if n := copy(content, head[lengthSize:]); int64(n) < size {
		err = r.read(content[n:], position+lengthSize+int64(n))
	}
	return size, content, err
}

// Keys yields the id of every object in the image, in the index's order, with
// flat memory. After an error it yields nothing more.
func (r *Reader) Keys(ctx context.Context) iter.Seq2[format.ObjID, error] {
	return func(yield func(format.ObjID, error) bool) {
		stopped := false
		err := r.scan(ctx, func(_ int64, e *entry) error {
			if stopped = !yield(e.key(), nil); stopped {
				return io.EOF
			}
			return nil
		})
		if err != nil && !stopped {
			yield(format.ObjID{}, err)
		}
	}
}

// locate returns the slot and the position of an object, or format.ErrNotFound. It
// reads into buf.
func (r *Reader) locate(id format.ObjID, buf []byte) (slot, position int64, err error) {
	slot = r.hash.slot(&id)
	e, used, err := r.entry(slot, buf)
	if err != nil {
		return 0, 0, err
	}
	if !used || e.key() != id {
		return 0, 0, format.ErrNotFound
	}
	return slot, int64(e.position()), nil
}

// entry reads the entry of a slot into buf.
func (r *Reader) entry(slot int64, buf []byte) (e *entry, used bool, err error) {
	e = (*entry)(buf)
	if err := r.read(e[:], r.slotOffset(slot)); err != nil {
		return nil, false, err
	}
	used, err = r.checkEntry(slot, e)
	return e, used, err
}

// scan calls fn for every used entry.
func (r *Reader) scan(ctx context.Context, fn func(slot int64, e *entry) error) error {
	return r.scanAll(ctx, func(slot int64, e *entry, damage error) error {
		if damage != nil {
			return damage
		}
		return fn(slot, e)
	})
}

// scanAll is scan for damaged entries, too.
func (r *Reader) scanAll(ctx context.Context, fn func(slot int64, e *entry, damage error) error) error {
	return r.scanSlots(ctx, 0, r.info.IndexSlots, scanEntries, fn)
}

// scanSlots is scanAll for a range of slots. It reads batch entries first, and
// then twice as many each time, up to scanEntries.
func (r *Reader) scanSlots(ctx context.Context, slot, end, batch int64, fn func(slot int64, e *entry, damage error) error) error {
	var buf []byte
	for ; slot < end; batch = min(2*batch, scanEntries) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := entrySize * min(batch, end-slot)
		if n > int64(len(buf)) {
			buf = make([]byte, n)
		}
		block := buf[:n]
		if err := r.read(block, r.slotOffset(slot)); err != nil {
			return err
		}
		for ; len(block) > 0; block = block[entrySize:] {
			e := (*entry)(block)
			if used, damage := r.checkEntry(slot, e); used || damage != nil {
				if err := fn(slot, e, damage); err != nil {
					return err
				}
			}
			slot++
		}
	}
	return nil
}

// checkEntry reports whether the entry of a slot is used, if it can be true.
func (r *Reader) checkEntry(slot int64, e *entry) (used bool, err error) {
	if e.erased() {
		return false, nil
	}
	at := r.slotOffset(slot)
	id := e.key()
	if id == (format.ObjID{}) {
		return false, r.damaged(at, "an index entry without a key has a position")
	}
	if own := r.hash.slot(&id); own != slot {
		return false, r.damaged(at, "index slot %d holds a key that belongs into slot %d", slot, own)
	}
	return true, r.checkPosition(slot, e)
}

func (r *Reader) checkPosition(slot int64, e *entry) error {
	if p := e.position(); p < headerSize || p > uint64(r.info.IndexPosition-lengthSize) {
		return r.damaged(r.slotOffset(slot)+keySize, "an object at %d, outside of the area of objects", p)
	}
	return nil
}

// checkLength takes the length of an object that ends before end from its
// first bytes.
func (r *Reader) checkLength(head []byte, position, end int64) (int64, error) {
	room := end - position - lengthSize
	if room < 0 {
		return 0, r.damaged(position, "another object starts within the length of this object, at %d", end)
	}
	size := binary.BigEndian.Uint64(head)
	if size > uint64(room) {
		return 0, r.damaged(position, "an object of %d bytes, but only %d bytes are left", size, room)
	}
	return int64(size), nil
}

func (r *Reader) slotOffset(slot int64) int64 { return r.info.IndexPosition + slot*entrySize }

// read fills p from bytes that the header says are there.
func (r *Reader) read(p []byte, at int64) error {
	n, err := r.src.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return r.damaged(at+int64(n), "the device ends here")
	}
	return fmt.Errorf("reading %d bytes of shard image %s at %d: %w", len(p), r.name, at, err)
}

func (r *Reader) damaged(at int64, what string, args ...any) error {
	return &format.DamageError{Image: r.name, Offset: at, What: fmt.Sprintf(what, args...)}
}
