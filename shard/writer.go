// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"errors"
	"fmt"
	"io"

	"winery/format"
)

// Writer writes an image in one pass. It is for one goroutine; the device
// sees up to 8 concurrent WriteAt calls of up to 4 MiB, none of which overlap.
// A Writer takes 36 MiB and, in Finish, about 65 bytes an object, whatever the
// objects' sizes, outside Go's heap.
type Writer struct {
	dst   io.WriterAt
	limit int64
	out   *stream
	index table
	more  [1]byte // what content has beyond its size
}

var errClosed = errors.New("the shard image's writer is finished or closed")

// NewWriter starts an image on a device of limit bytes. It overwrites the header
// of an existing image, so that an unfinished new image cannot be opened as the
// old one. Close must be called in any case.
func NewWriter(dst io.WriterAt, limit int64) (*Writer, error) {
	if limit < headerSize {
		return nil, fmt.Errorf("%w: a device of %d bytes has no room for a header", format.ErrTooLarge, limit)
	}
	if _, err := dst.WriteAt(make([]byte, headerSize), 0); err != nil {
		return nil, fmt.Errorf("clearing a shard image's header: %w", err)
	}
	out, err := newStream(dst, headerSize)
	if err != nil {
		return nil, err
	}
	return &Writer{dst: dst, limit: limit, out: out}, nil
}

// Add writes an object, whose content must be size bytes long. Add does not check
// that the content's SHA-256 is id: Verify does, once the image is written. The
// zero id is refused. format.ErrTooLarge if the object does not fit. Writes
// continue after Add returns, so it may return an error of an earlier object.
// After an error every later call returns that same error.
func (w *Writer) Add(id format.ObjID, size int64, content io.Reader) error {
	if err := w.out.failed(); err != nil {
		return err
	}
	if err := w.add(id, size, content); err != nil {
		return w.out.fail(err)
	}
	return nil
}

func (w *Writer) add(id format.ObjID, size int64, content io.Reader) error {
	switch {
	case id == format.ObjID{}:
		return errors.New("a shard image cannot hold an object with the zero id")
	case size < 0:
		return fmt.Errorf("object %x has a size of %d bytes", id, size)
	case len(w.index.Entries) == maxObjects:
		return fmt.Errorf("%w: the image has %d objects already", format.ErrTooLarge, maxObjects)
	case w.out.end > w.limit-lengthSize || size > w.limit-lengthSize-w.out.end:
		return fmt.Errorf("%w: object %x of %d bytes at %d, of %d", format.ErrTooLarge, id, size, w.out.end, w.limit)
	}
	if err := w.index.Append(newEntry(id, uint64(w.out.end))); err != nil {
		return err
	}
	w.out.writeLength(size)
	if err := w.out.readFrom(content, size); err != nil {
		return fmt.Errorf("content of object %x of %d bytes: %w", id, size, err)
	}
	if n, _ := io.ReadFull(content, w.more[:]); n != 0 {
		return fmt.Errorf("content of object %x is longer than its %d bytes", id, size)
	}
	return nil
}

// Finish builds the hash function, writes it, the index, and when all else is
// written the header. Nothing is flushed: that is the device's owner's to do.
// format.ErrDuplicate names an id that was added twice. Memory is freed when it returns.
func (w *Writer) Finish() (format.Info, error) {
	defer func() { _ = w.Close() }()
	if err := w.out.failed(); err != nil {
		return format.Info{}, err
	}
	info, err := w.finish()
	if err != nil {
		return format.Info{}, w.out.fail(err)
	}
	return info.Info, nil
}

func (w *Writer) finish() (Layout, error) {
	objects, end := int64(len(w.index.Entries)), w.out.end
	dump, err := w.index.index()
	if err != nil {
		return Layout{}, err
	}
	info := newLayout(objects, end-headerSize, int64(len(w.index.Entries)))
	info.Size = info.HashPosition + int64(len(dump))
	if info.Size > w.limit {
		return Layout{}, fmt.Errorf("%w: the image with its index has %d bytes, the device has %d", format.ErrTooLarge, info.Size, w.limit)
	}
	for i := range w.index.Entries {
		w.out.write(w.index.Entries[i][:])
	}
	w.out.write(dump)
	if err := w.out.wait(); err != nil {
		return Layout{}, err
	}
	if _, err := w.dst.WriteAt(info.encode(), 0); err != nil {
		return Layout{}, fmt.Errorf("writing a shard image's header: %w", err)
	}
	return info, nil
}

// Close waits for writes in flight and frees the Writer's memory. It may be
// called again, and after Finish.
func (w *Writer) Close() error {
	_ = w.out.fail(errClosed)
	w.out.release()
	w.index.Free()
	return nil
}
