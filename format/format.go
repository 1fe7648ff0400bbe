// SPDX-License-Identifier: GPL-3.0-or-later

package format

import (
	"context"
	"io"
	"iter"
)

// ObjID is the SHA-256 of an object's content. The zero ObjID cannot be stored.
type ObjID = [32]byte

// Format is a format of images. An image is a file, or starts at offset 0 of a
// device, of size bytes; the name is for error messages.
type Format interface {
	// Name names the format. An image can be copied byte by byte between two formats
	// of the same name.
	Name() string

	// Open reads and checks what leads to the objects of an image.
	Open(src io.ReaderAt, size int64, name string) (Reader, error)

	// OpenCached returns a Getter of an image from what CacheHead of a Reader of it
	// returned. It reads the first bytes of head, and nothing of the image. The head
	// may be damaged, cut off, or of another image: ErrStaleHead, here or in GetUpTo.
	OpenCached(head, src io.ReaderAt, name string) (Getter, error)

	// Unfinished says whether an image was never finished: its Writer never
	// began, or was interrupted, so the image was never used. A damaged image is
	// not unfinished.
	Unfinished(src io.ReaderAt, size int64, name string) (bool, error)

	// SizeBound is more than the Size of an image of so many objects whose
	// contents have so many bytes.
	SizeBound(objects, bytes int64) int64

	// NewWriter starts an image on a device of limit bytes. From then on until
	// Finish the image is unfinished, whatever the device had before.
	// ErrTooLarge.
	NewWriter(dst io.WriterAt, limit int64) (Writer, error)

	// Erase makes objects unreadable, overwrites their bytes, and returns how
	// many it took out of the image. Ids that the image does not hold are passed
	// over. A loss of power at any moment leaves all other objects as they were, and
	// each of ids such that the same call completes its erasure. The Fingerprint
	// and Info.Objects stay. Where damage leaves open which bytes are an object's,
	// nothing is written. Objects of ids that the device cannot read stay as they are:
	// the others are erased, and the error is an *UnreadableError.
	//
	// Up to inFlight reads or writes, at least 1, are in flight at once. When ctx ends, Erase stops
	// before the next one. Readers see an object that is being erased with
	// other content until it is gone. What was written is flushed.
	Erase(ctx context.Context, img Device, size int64, name string, inFlight int, ids []ObjID) (erased int, err error)

	// RestoreContent writes an object that is damaged where the image's index says
	// that it is. ErrNotFound where the index does not have the object, and ErrLayout
	// where the object would reach into another: nothing is written then. What was
	// written is flushed.
	RestoreContent(ctx context.Context, img Device, size int64, name string, content []byte) error

	// Mend writes what the objects tell of the rest of an image, where they are all
	// intact and something else is damaged: heads and checksums of its parts. False
	// where there is nothing of that kind. A *DamageError where the damage is of another
	// kind: nothing is written then. What was written is flushed.
	Mend(ctx context.Context, img Device, size int64, name string) (mended bool, err error)
}

// Device is a finished image opened for changes. ReadAt may be called concurrently, and
// so may WriteAt for ranges that do not overlap. Flush returns once all that was written
// before would survive a loss of power.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Flush() error
}

// Writer writes an image in one pass, with flat memory but for the index. It is
// for one goroutine; the device sees concurrent writes that do not overlap.
type Writer interface {
	// Add writes an object, whose content must be size bytes long. It does not
	// hash the content: Verify does, once all is written. ErrTooLarge. It may
	// return an error of an earlier object. After an error every later call returns
	// the same error.
	Add(id ObjID, size int64, content io.Reader) error
	// Finish writes the index, and last what makes the image finished. It flushes
	// nothing: that is for the device's owner. ErrTooLarge; ErrDuplicate, which
	// names an id that was added twice.
	Finish() (Info, error)
	// Close waits for writes in flight and frees memory. It must be called in any
	// case, and may be called again and after Finish.
	Close() error
}

// Info is what an image says of itself.
type Info struct {
	Objects     int64 // with which the image was written, erased ones included
	ContentSize int64 // bytes of their contents, with or without the erased ones
	ObjectsSize int64 // bytes of the image that the objects take: what Verify and Inspect read
	Size        int64 // bytes of the image in use; its device may be larger
}

// Counts is what Verify found.
type Counts struct {
	Objects int64 // objects that can be read
	Deleted int64 // objects with which the image was written and that are erased
	Bytes   int64 // content of Objects
}

// Getter reads objects of an image. It is safe for concurrent use if its sources are,
// and holds nothing but memory, so that it needs no Close. It sees objects vanish
// that are erased while it is open.
type Getter interface {
	// GetUpTo returns the size of an object's content, and the content itself
	// unless it is larger than atMost: then content is nil and is not read. A
	// negative atMost reads the size only. The caller compares the content's
	// SHA-256 with id; no more than 64 MiB are allocated by an announced length
	// that is not known to be true. ErrNotFound; instead of it, and of a *DamageError,
	// a Getter of OpenCached returns ErrStaleHead.
	GetUpTo(id ObjID, atMost int64) (size int64, content []byte, err error)
}

// Reader reads an image.
type Reader interface {
	Getter

	Info() Info

	// Fingerprint differs between images of different objects. Erasing does not
	// change it.
	Fingerprint() [32]byte

	// CacheHead returns what leads to the objects: 2 to 3 bits for each, and the
	// dictionary of the image, if it has one. A lookup reads about 100 bytes of it.
	// Erasing does not change it.
	CacheHead() []byte

	// Check reads one object with flat memory and returns its size: ErrNotFound, or
	// a *DamageError where the content does not have the SHA-256 id.
	Check(ctx context.Context, id ObjID) (size int64, err error)

	// Keys yields the id of every object in the image, in any order, with flat
	// memory. After an error it yields nothing more.
	Keys(ctx context.Context) iter.Seq2[ObjID, error]

	// Pick returns the ids of up to n objects spread over the index.
	Pick(ctx context.Context, n int) ([]ObjID, error)

	// Inventory reads the index. Damaged entries are left out. The caller closes
	// what it returns.
	Inventory(ctx context.Context) (Inventory, error)

	// Verify reads the whole image and returns nil only if it holds what a Writer
	// wrote and Erase left: every key is found, every content has its key for
	// SHA-256, and no byte belongs to nothing. Progress, unless nil, is called with
	// the bytes read since its last call, Info().ObjectsSize in all; calls do not
	// overlap.
	Verify(ctx context.Context, progress func(bytes int64)) (Counts, error)

	// Inspect is Verify that continues after damage and hands it to found, one
	// call at a time; an error of found ends it and is returned. Each object is
	// judged by itself: one that is intact is not blamed for a neighbour. Bytes that
	// are no object's are reported only where no damage explains them. Counts are of
	// what is intact.
	Inspect(ctx context.Context, progress func(bytes int64), found func(Damage) error) (Counts, error)

	// EntryRange returns the byte range of an object's index entry, if the image
	// has the object: the object of a damaged entry may be unknown.
	EntryRange(id ObjID) (begin, end int64)

	// RestoreTo writes objects that are damaged in another copy of this image:
	// content and index entry. It skips those that this image does not have, or not
	// intact, and returns how many it wrote; where this image cannot be read it
	// stops. ErrLayout, and nothing is written, unless both are copies of one
	// image, apart from damage and from objects that are erased in one of them. What
	// was written is flushed.
	RestoreTo(ctx context.Context, img Device, size int64, name string, ids []ObjID) (restored int, err error)

	// RestoreHeadTo writes what [Format.Open] reads into another copy of this
	// image, in which that may be damaged. ErrLayout, and nothing is written, unless
	// the index entries there are those of a copy ([LayoutCheck]): in any other image
	// no object would be found any more. What was written is flushed.
	RestoreHeadTo(ctx context.Context, img Device) error
}

// Inventory is the index of an image in memory, to be compared with another list
// of its objects. It is for one goroutine.
type Inventory interface {
	// Mark marks an object as found in the other list. It returns false where the
	// image does not hold the object.
	Mark(id ObjID) bool
	// Unmarked yields the objects of the image that are not marked.
	Unmarked() iter.Seq[ObjID]
	// Close frees the memory.
	Close()
}
