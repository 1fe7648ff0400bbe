// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"winery/format"
)

// Writer writes an image in one pass, and compresses objects on up to 4 CPUs. It is for
// one goroutine; the device sees concurrent WriteAt calls of up to 4 MiB, none of which
// overlap. A Writer takes up to 64 MiB and, in Finish, about 60 bytes an object,
// whatever the objects' sizes. At levels from 10 on it takes 35 MiB more for each CPU.
type Writer struct {
	format   Format
	dst      io.WriterAt
	out      *stream
	tile     *tileWriter
	index    table
	compress *compressor // nil where objects are not compressed
	metadata metadata
	tiles    int64    // where they begin
	waiting  []sample // objects from which the dictionary is trained
	waitSize int64    // bytes of their contents
	training bool     // the objects wait
	more     [1]byte  // what content has beyond its size
}

// sample is an object that waits for the dictionary.
type sample struct {
	id      format.ObjID
	content []byte
}

var errClosed = errors.New("the mosaic image's writer is finished or closed")

// NewWriter starts an image on a device of limit bytes. It overwrites the start of an
// existing image, so that an unfinished new image cannot be opened as the old one.
// Close must be called in any case.
func NewWriter(f Format, dst io.WriterAt, limit int64) (*Writer, error) {
	if limit < startSize {
		return nil, fmt.Errorf("%w: a device of %d bytes has no room for a header", format.ErrTooLarge, limit)
	}
	if _, err := dst.WriteAt(make([]byte, startSize), 0); err != nil {
		return nil, fmt.Errorf("clearing a mosaic image's header: %w", err)
	}
	out, err := newStream(dst, startSize, limit)
	if err != nil {
		return nil, err
	}
	w := &Writer{format: f, dst: dst, out: out, training: f.Zstd && f.Dictionary}
	if !w.training {
		if err := w.begin(nil); err != nil {
			_ = w.Close()
			return nil, err
		}
	}
	return w, nil
}

// begin writes the metadata's place, after which the tiles follow.
func (w *Writer) begin(dictionary []byte) (err error) {
	w.training = false
	w.metadata = metadata{method: methodNone, dictionary: dictionary}
	switch {
	case dictionary != nil:
		w.metadata.method = methodDictionary
	case w.format.Zstd:
		w.metadata.method = methodZstd
	}
	if w.format.Zstd {
		if w.compress, err = newCompressor(libraryLevel(w.format.Level, dictionary), dictionary); err != nil {
			return err
		}
	}
	_, err = w.out.Write(make([]byte, len(w.metadata.encode())))
	w.tiles = w.out.end
	w.tile = &tileWriter{out: w.out}
	return err
}

// Add writes an object, whose content must be size bytes long. Add does not check
// that the content's SHA-256 is id: Verify does, once the image is written. The
// zero id is refused. format.ErrTooLarge if the object does not fit, or is larger than
// MaxObjectSize. Writes continue after Add returns, so it may return an error of an
// earlier object. After an error every later call returns that same error.
func (w *Writer) Add(id format.ObjID, size int64, content io.Reader) error {
	if err := w.out.failed(); err != nil {
		return err
	}
	if err := w.add(id, size, content); err != nil {
		return w.out.fail(fmt.Errorf("object %x of %d bytes: %w", id, size, err))
	}
	return nil
}

func (w *Writer) add(id format.ObjID, size int64, content io.Reader) error {
	switch {
	case id == format.ObjID{}:
		return errors.New("a mosaic image cannot hold an object with the zero id")
	case size < 0:
		return errors.New("the size is negative")
	case size > MaxObjectSize:
		return fmt.Errorf("%w: the largest object of a mosaic image has %d bytes", format.ErrTooLarge, MaxObjectSize)
	case int64(len(w.index.Entries)) == maxSlots:
		return fmt.Errorf("%w: the image has %d objects already", format.ErrTooLarge, maxSlots)
	}
	if w.training && (w.waitSize+size > trainingBytes || len(w.waiting) == trainingObjects) {
		if err := w.train(); err != nil {
			return err
		}
	}
	var err error
	if w.training {
		s := sample{id, make([]byte, size)}
		_, err = io.ReadFull(content, s.content)
		w.waiting = append(w.waiting, s)
		w.waitSize += size
	} else {
		err = w.store(id, size, content)
	}
	if err != nil {
		return err
	}
	if n, _ := io.ReadFull(content, w.more[:]); n != 0 {
		return errors.New("the content is longer than the announced size")
	}
	return nil
}

// train makes the dictionary and writes the objects that wait for it.
func (w *Writer) train() error {
	if err := w.begin(train(w.waiting)); err != nil {
		return err
	}
	for _, s := range w.waiting {
		if err := w.store(s.id, int64(len(s.content)), bytes.NewReader(s.content)); err != nil {
			return err
		}
	}
	w.waiting = nil
	return nil
}

// store writes an object's element, or leaves that for later.
func (w *Writer) store(id format.ObjID, size int64, content io.Reader) error {
	w.metadata.objects++
	w.metadata.totalSize += size
	if w.compress == nil {
		position, err := w.tile.object(size, content)
		return errors.Join(err, w.index.Append(entry{id, position}))
	}
	if size <= inMemory {
		if err := w.compress.add(id, size, content); err != nil {
			return err
		}
		return w.storeFrames(w.compress.full)
	}
	if err := w.storeFrames(w.compress.any); err != nil { // in the order of Add
		return err
	}
	position, err := w.tile.frame(maxFrame(size), func(to io.Writer) error { return w.compress.stream(to, content, size) })
	return errors.Join(err, w.index.Append(entry{id, position}))
}

// storeFrames writes the frames of the objects that were added first, while a
// condition holds.
func (w *Writer) storeFrames(while func() bool) error {
	for while() {
		j := w.compress.next()
		position, err := w.tile.object(int64(len(j.frame)), bytes.NewReader(j.frame))
		if err == nil {
			err = w.index.Append(entry{j.id, position})
		}
		if err != nil {
			return err
		}
		w.compress.done(j)
	}
	return nil
}

// Finish writes the index, and when all else is written the metadata, and last the
// EBML header. Nothing is flushed: that is the device's owner's to do.
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
	return info, nil
}

func (w *Writer) finish() (info format.Info, err error) {
	if w.training {
		if err := w.train(); err != nil {
			return info, err
		}
	}
	if w.compress != nil {
		if err := w.storeFrames(w.compress.any); err != nil {
			return info, err
		}
	}
	w.tile.close()
	w.metadata.endOfTiles = w.out.end
	function, err := w.index.index()
	if err != nil {
		return info, err
	}
	w.metadata.digest, err = writeIndex(w.out, w.index.Entries, function, w.metadata.endOfTiles)
	if err != nil {
		return info, err
	}
	if err := w.out.wait(); err != nil {
		return info, err
	}
	start := appendHead([]byte(ebmlHeader), idMosaic, w.out.end-startSize, mosaicHead-4)
	for _, part := range []struct {
		at int64
		p  []byte
	}{{startSize, w.metadata.encode()}, {0, start}} {
		if _, err := w.dst.WriteAt(part.p, part.at); err != nil {
			return info, fmt.Errorf("writing a mosaic image's header: %w", err)
		}
	}
	return format.Info{
		Objects: w.metadata.objects, ContentSize: w.metadata.totalSize,
		ObjectsSize: w.metadata.endOfTiles - w.tiles, Size: w.out.end,
	}, nil
}

// Close waits for writes in flight and frees the Writer's memory. It may be
// called again, and after Finish.
func (w *Writer) Close() error {
	_ = w.out.fail(errClosed)
	w.out.release()
	w.index.Free()
	if w.compress != nil {
		w.compress.running.Wait()
	}
	w.waiting, w.compress = nil, nil
	return nil
}
