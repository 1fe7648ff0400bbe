// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sync"

	"winery/format"
)

const (
	// headSize is what GetUpTo reads at first of an object: most compressed objects are
	// smaller.
	headSize = 16 << 10
	// believedSize is the size up to which GetUpTo allocates what an object says that it
	// needs; beyond it the content is hashed first.
	believedSize = 64 << 20
	scanBytes    = 1 << 20 // of index entries that are read at once when all are read
)

// Reader reads an image. It is safe for concurrent use if its source is, and holds
// nothing but memory: 2 to 3 bits an object, and the image's dictionary.
//
// For a damaged image methods return a *format.DamageError; errors of the source
// are wrapped.
type Reader struct {
	src        io.ReaderAt
	name       string
	metadata   metadata
	layout     layout
	incomplete bool // an erasure was interrupted: checksums and counters mean nothing
	hash       *hash
	decoder    *decoder

	fingerprint [32]byte

	heads sync.Pool // of *[headSize]byte
}

// Open reads and checks the metadata and the perfect hash of an image on a device of
// size bytes. The name is for error messages.
func Open(src io.ReaderAt, size int64, name string) (*Reader, error) {
	r := newReader(src, name)
	header, err := r.readHeader(size)
	if err != nil {
		return nil, err
	}
	index, err := r.readIndex()
	if err != nil {
		return nil, err
	}
	if !r.incomplete && !r.metadata.intact() {
		return nil, r.damaged(r.layout.start, "the metadata has a checksum mismatch")
	}
	if r.decoder, err = newDecoder(r.metadata.method, r.metadata.dictionary); err != nil {
		return nil, r.damaged(r.layout.start, "%v", err)
	}
	r.fingerprint = fingerprint(header, index)
	return r, nil
}

func newReader(src io.ReaderAt, name string) *Reader {
	r := &Reader{src: src, name: name}
	r.heads.New = func() any { return new([headSize]byte) }
	return r
}

// Fingerprint returns the SHA-256 of what Open reads without what erasing changes. The
// perfect hash differs between images of different objects, and the digest of the
// index that a Writer adds differs in any case.
func (r *Reader) Fingerprint() [32]byte { return r.fingerprint }

// Info implements [format.Reader]. ContentSize is that of the objects that are left.
func (r *Reader) Info() format.Info {
	l := &r.layout
	return format.Info{Objects: l.slots, ContentSize: r.metadata.totalSize, ObjectsSize: l.index - l.tiles, Size: l.end}
}

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
	head := buf[:min(headSize, r.layout.index-position)]
	if atMost < 0 {
		head = head[:min(len(head), maxHead+frameHead)]
	}
	if err := r.read(head, position); err != nil {
		return 0, nil, err
	}
	o, err := r.parseObject(head, position, r.layout.index)
	if err != nil {
		return 0, nil, err
	}
	head = head[o.start-position:]
	size, known, err := r.decoder.size(o.stored, head)
	if err != nil {
		return 0, nil, r.damaged(position, "object %x: %v", id, err)
	}
	if !known || size > believedSize && size <= atMost {
		if size, err = r.checkObject(context.Background(), id, position, make([]byte, sampleBuffer)); err != nil {
			return 0, nil, err
		}
	}
	if size > atMost {
		return size, nil, nil
	}
	content, err = r.content(id, o, head, size)
	return size, content, err
}

// content returns the content of size bytes of an object, whose first stored bytes are
// read already.
func (r *Reader) content(id format.ObjID, o object, head []byte, size int64) ([]byte, error) {
	if int64(len(head)) >= o.stored {
		content, err := r.decoder.decode(head[:o.stored], size, nil)
		if err != nil {
			return nil, r.damaged(o.position, "object %x: %v", id, err)
		}
		return content, nil
	}
	if err := r.believe(context.Background(), o.start, o.stored, head); err != nil {
		return nil, r.contentError(id, o.position, err)
	}
	rest := r.section(o.start+int64(len(head)), o.stored-int64(len(head)))
	in := r.decoder.stream(io.MultiReader(bytes.NewReader(head), rest))
	defer in.Close()
	content := make([]byte, size)
	_, err := io.ReadFull(in, content)
	if err == nil {
		var more [1]byte
		if _, err = io.ReadFull(in, more[:]); err == nil {
			err = errContent
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, r.contentError(id, o.position, err)
	}
	return content, nil
}

// contentError returns the error of reading a content: damage, unless it is the device's.
func (r *Reader) contentError(id format.ObjID, position int64, err error) error {
	if errors.Is(err, errContent) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.damaged(position, "object %x: %v", id, errContent)
	}
	return err
}

// section returns a reader of n bytes at an offset, in large reads.
func (r *Reader) section(at, n int64) io.Reader { return &section{Reader: r, at: at, end: at + n} }

type section struct {
	*Reader
	at, end int64
}

func (s *section) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), s.end-s.at)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	if err := s.read(p, s.at); err != nil {
		return 0, err
	}
	s.at += int64(len(p))
	return len(p), nil
}

// object is an object's element.
type object struct {
	position int64 // of the element
	start    int64 // of its content
	stored   int64 // bytes of its content
}

func (o object) end() int64 { return o.start + o.stored }

// parseObject takes an object's element that ends before end from its first bytes.
func (r *Reader) parseObject(b []byte, position, end int64) (object, error) {
	h, err := parseHead(b)
	switch {
	case err != nil || h.id != idObject:
		return object{}, r.damaged(position, "no object's element")
	case h.size > end-position-h.length:
		return object{}, r.damaged(position, "an object of %d bytes, but only %d bytes are left", h.size, end-position-h.length)
	}
	return object{position: position, start: position + h.length, stored: h.size}, nil
}

// Keys yields the id of every object in the image, in the index's order, with
// flat memory. After an error it yields nothing more.
func (r *Reader) Keys(ctx context.Context) iter.Seq2[format.ObjID, error] {
	return func(yield func(format.ObjID, error) bool) {
		stopped := false
		err := r.scan(ctx, func(_ int64, e entry, damage error) error {
			if damage != nil {
				return damage
			}
			if stopped = !yield(e.id, nil); stopped {
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
	slot, ok := r.hash.slot(&id)
	if !ok {
		return 0, 0, format.ErrNotFound
	}
	stored := buf[:r.layout.entrySize()]
	if err := r.read(stored, r.layout.slotOffset(slot)); err != nil {
		return 0, 0, err
	}
	e, used, err := r.parseEntry(slot, stored)
	if err != nil {
		return 0, 0, err
	}
	if !used || e.id != id {
		return 0, 0, format.ErrNotFound
	}
	return slot, e.position, nil
}

// scan calls fn for every used entry, damaged ones included.
func (r *Reader) scan(ctx context.Context, fn func(slot int64, e entry, damage error) error) error {
	return r.scanSlots(ctx, 0, r.layout.slots, scanBytes, func(slot int64, stored []byte) error {
		if e, used, damage := r.parseEntry(slot, stored); used || damage != nil {
			return fn(slot, e, damage)
		}
		return nil
	})
}

// scanSlots calls fn for the entries of a range of slots, as stored. It reads batch
// bytes first, and then twice as many each time, up to scanBytes.
func (r *Reader) scanSlots(ctx context.Context, slot, end, batch int64, fn func(slot int64, stored []byte) error) error {
	size := r.layout.entrySize()
	var buf []byte
	for ; slot < end; batch = min(2*batch, scanBytes) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := size * min(batch/size, end-slot)
		if n > int64(len(buf)) {
			buf = make([]byte, n)
		}
		block := buf[:n]
		if err := r.read(block, r.layout.slotOffset(slot)); err != nil {
			return err
		}
		for ; len(block) > 0; block = block[size:] {
			if err := fn(slot, block[:size]); err != nil {
				return err
			}
			slot++
		}
	}
	return ctx.Err()
}

// parseEntry takes the entry of a slot, and reports whether it is used, if it can be true.
func (r *Reader) parseEntry(slot int64, stored []byte) (e entry, used bool, err error) {
	e, used, err = r.decodeEntry(slot, stored)
	if err != nil || !used {
		return e, used, err
	}
	if own, ok := r.hash.slot(&e.id); !ok || own != slot {
		return e, false, r.damaged(r.layout.slotOffset(slot), "index slot %d holds a key that belongs into slot %d", slot, own)
	}
	return e, true, nil
}

// decodeEntry is parseEntry without a look at the slot to which the key belongs.
// An entry is erased by its first byte.
func (r *Reader) decodeEntry(slot int64, stored []byte) (e entry, used bool, err error) {
	if stored[0] == byte(idVoid) {
		return entry{}, false, nil
	}
	at := r.layout.slotOffset(slot)
	e = entry{format.ObjID(stored[atKey:]), int64(number(stored[entryFixed:]))}
	var want [maxEntry]byte
	if !bytes.Equal(stored, appendEntry(want[:0], &e, r.layout.offsetSize)) {
		return e, false, r.damaged(at, "not an index entry")
	}
	if e.position < r.layout.tiles || e.position > r.layout.index-2 {
		return e, false, r.damaged(at+entryFixed, "an object at %d, outside of the tiles", e.position)
	}
	return e, true, nil
}

// read fills p from bytes that the image says are there.
func (r *Reader) read(p []byte, at int64) error {
	n, err := r.src.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return r.damaged(at+int64(n), "the device ends here")
	}
	return fmt.Errorf("reading %d bytes of mosaic image %s at %d: %w", len(p), r.name, at, err)
}

func (r *Reader) damaged(at int64, what string, args ...any) error {
	return &format.DamageError{Image: r.name, Offset: at, What: fmt.Sprintf(what, args...)}
}
