// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"winery/format"
)

// RestoreContent implements [format.Format]. A compressed object is compressed again,
// first at the format's level. The frame must fit where the object was; a shorter one
// is filled up, if the size in the object's head leads to the next object. Where the index
// does not tell where that one begins, because its entry is damaged, it returns ErrLayout.
// Meanwhile checksums and counters are declared void: a frame may differ from the one
// that the tile's checksum is of. They stay void where the tile has other bytes that cannot
// be read.
func (f Format) RestoreContent(ctx context.Context, img format.Device, size int64, name string, content []byte) error {
	id := format.ObjID(sha256.Sum256(content))
	r, err := Open(img, size, name)
	if err != nil {
		return err
	}
	_, position, err := r.locate(id, make([]byte, maxEntry))
	if err != nil {
		return fmt.Errorf("the index entry of object %x has no usable position: %w", id, err)
	}
	t, next, err := r.neighbours(ctx, position)
	if err != nil {
		return err
	}
	element, err := f.element(ctx, r, position, next, content)
	if err != nil {
		return fmt.Errorf("object %x at %d: %w", id, position, err)
	}
	crc, err := r.tileCRC(ctx, t, position, element)
	unreadable := errors.Is(err, unix.EIO)
	if err != nil && !unreadable {
		return err
	}
	e := eraser{Reader: r, img: img}
	steps := []func(context.Context) error{e.markIndex, func(context.Context) error { return e.write(element, position) }}
	if !unreadable {
		steps = append(steps, func(context.Context) error { return e.write(appendCRC(nil, crc), t.crcAt) })
	}
	if !unreadable && !r.incomplete { // else incomplete until the next Erase
		steps = append(steps, e.unmarkIndex)
	}
	return e.inSteps(ctx, steps...)
}

// neighbours returns the tile of a position, and where the next object starts or the
// tile ends. It requires that no other object is there, as far as undamaged entries
// show.
func (r *Reader) neighbours(ctx context.Context, position int64) (in tile, next int64, err error) {
	err = r.eachTile(ctx, func(t tile) error {
		if t.start < position && position < t.end {
			in = t
		}
		return nil
	})
	if err != nil {
		return in, 0, err
	}
	next, before, same := in.end, int64(-1), 0
	err = r.scan(ctx, func(_ int64, e entry, damage error) error {
		switch p := e.position; {
		case damage != nil:
		case p > position:
			next = min(next, p)
		case p < position:
			before = max(before, p)
		default:
			same++
		}
		return nil
	})
	if err != nil {
		return in, 0, err
	}
	if same != 1 || in.end == 0 || position < in.crcAt+crcLength {
		return in, 0, fmt.Errorf("%w: %d objects at %d", format.ErrLayout, same, position)
	}
	if before < in.start {
		return in, next, nil
	}
	head := make([]byte, min(maxHead, r.layout.index-before))
	if err := r.read(head, before); err != nil {
		return in, 0, err
	}
	if o, err := r.parseObject(head, before, r.layout.index); err == nil && o.end() > position {
		return in, 0, fmt.Errorf("%w: the object at %d reaches beyond %d", format.ErrLayout, before, position)
	}
	return in, next, nil // a damaged neighbour proves nothing
}

// element returns the element of a content that takes the place of the one at a
// position. It has the head of that one, or a head of its own where that one is damaged.
func (f Format) element(ctx context.Context, r *Reader, position, next int64, content []byte) ([]byte, error) {
	head, o, err := r.soundHead(ctx, position, next, int64(len(content)))
	damaged := errors.As(err, new(*format.DamageError))
	if err != nil && !damaged {
		return nil, err
	}
	for _, frame := range f.frames(r, content) {
		if !damaged {
			if frame = fit(frame, o.stored); frame == nil || !r.holds(frame, content) {
				continue
			}
			return append(head, frame...), nil
		}
		length := sizeLength(int64(len(frame)))
		if r.decoder.compressed && len(content) > inMemory {
			length = max(length, 4)
		}
		element := append(appendHead(nil, idObject, int64(len(frame)), length), frame...)
		err := r.onlyErased(ctx, position+int64(len(element)), next)
		if err == nil {
			return element, nil
		}
		if !errors.As(err, new(*format.DamageError)) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: the content of %d bytes does not fit between %d and %d", format.ErrLayout, len(content), position, next)
}

// soundHead returns the head of the object at a position, and *format.DamageError where it
// is damaged. A size that merely fits proves nothing: it must lead to the next object, or
// be that of the content where the image is not compressed.
func (r *Reader) soundHead(ctx context.Context, position, next, size int64) (head []byte, o object, err error) {
	head = make([]byte, min(maxHead, next-position))
	if err := r.read(head, position); err != nil {
		return nil, o, err
	}
	if o, err = r.parseObject(head, position, next); err != nil {
		return nil, o, err
	}
	switch {
	case r.decoder.compressed:
		err = r.onlyErased(ctx, o.end(), next)
	case o.stored != size:
		err = r.damaged(position, "an object of %d bytes, expected %d", o.stored, size)
	}
	return slices.Clip(head[:o.start-position]), o, err
}

// onlyErased requires that a range has nothing but elements of erased objects, the last of
// which ends where the range does. Else it returns a *format.DamageError.
func (r *Reader) onlyErased(ctx context.Context, begin, end int64) error {
	if begin > end {
		return r.damaged(begin, "an object that would end beyond %d", end)
	}
	in := &span{Reader: r, buf: make([]byte, min(blockSize, end-begin)), next: begin, end: end}
	for in.at() < end {
		if err := in.erased(ctx, end); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether a frame is one of a content.
func (r *Reader) holds(frame, content []byte) bool {
	in := r.decoder.stream(bytes.NewReader(frame))
	defer in.Close()
	sum := sha256.New()
	_, err := io.Copy(sum, in)
	return err == nil && [32]byte(sum.Sum(nil)) == sha256.Sum256(content)
}

// frames returns what an image may have stored of a content.
func (f Format) frames(r *Reader, content []byte) (frames [][]byte) {
	if !r.decoder.compressed {
		return [][]byte{content}
	}
	first := libraryLevel(f.Level, r.metadata.dictionary)
	for _, level := range []zstd.EncoderLevel{first, zstd.SpeedBetterCompression, zstd.SpeedBestCompression, zstd.SpeedDefault} {
		e, err := newEncoder(level, r.metadata.dictionary)
		if err != nil {
			return frames
		}
		if len(content) <= inMemory {
			frames = append(frames, e.encode(content, nil))
			continue
		}
		var frame bytes.Buffer
		if e.stream(&frame, bytes.NewReader(content), int64(len(content))) == nil {
			frames = append(frames, frame.Bytes())
		}
	}
	return frames
}

// fit returns the frame filled up to so many bytes, or nil if that cannot be done.
func fit(frame []byte, size int64) []byte {
	const skippable, skippableHead = 0x184D2A50, 8
	switch n := size - int64(len(frame)); {
	case n < 0:
		return nil
	case n == 0:
		return frame
	case n < skippableHead:
		return fillFrame(frame, int(n))
	default:
		frame = binary.LittleEndian.AppendUint32(bytes.Clone(frame), skippable)
		frame = binary.LittleEndian.AppendUint32(frame, uint32(n-skippableHead))
		return append(frame, make([]byte, n-skippableHead)...)
	}
}

// fillFrame makes a frame n bytes longer: by blocks without content, of 3 bytes, and by
// naming dictionary 0, which is none, in 1 or 2 bytes.
func fillFrame(frame []byte, n int) []byte {
	const descriptor, singleSegment, dictionaryID = 4, 1 << 5, 3
	var h zstd.Header
	if h.Decode(frame) != nil || n%3 != 0 && frame[descriptor]&dictionaryID != 0 {
		return nil
	}
	at := descriptor + 1
	if frame[descriptor]&singleSegment == 0 {
		at++ // the window
	}
	filled := append(bytes.Clone(frame[:at]), make([]byte, n%3)...)
	filled[descriptor] |= byte(n % 3)
	filled = append(filled, frame[at:h.HeaderSize]...)
	filled = append(filled, make([]byte, n-n%3)...)
	return append(filled, frame[h.HeaderSize:]...)
}
