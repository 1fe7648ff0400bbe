// SPDX-License-Identifier: GPL-3.0-or-later

package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"

	"winery/format"
)

// Errors that every kind of pool answers with, wrapped.
var (
	// ErrNotFound: there is no image of that name.
	ErrNotFound = errors.New("no such image")
	// ErrNotMapped: the image cannot be read through this host's mapping,
	// because there is none or because the image does not exist.
	ErrNotMapped = errors.New("image is not mapped on this host")
	// ErrExists: another draft of that name was committed meanwhile.
	ErrExists = errors.New("image exists already")
	// ErrFull: the pool has no space or no quota left. Space must be made;
	// trying again alone does not help.
	ErrFull = errors.New("pool is full")
	// ErrInUse: another process, alive, writes or uses the image.
	ErrInUse = errors.New("image is in use")
	// ErrFenced: the store refuses this process, because another process took its
	// work over. The process should exit; it must not continue with a new
	// connection.
	ErrFenced = errors.New("fenced off by the store")
	// ErrUnavailable: the store does not answer. It may come back.
	ErrUnavailable = errors.New("the store does not answer")
	// ErrNoPool: the pool itself does not exist: no folder, no Ceph pool of
	// its name.
	ErrNoPool = errors.New("pool does not exist")
	// ErrNoMarker: the pool has no marker.
	ErrNoMarker = errors.New("marker missing")
	// ErrName: not a name that an image can have.
	ErrName = errors.New("not an image name")
)

// AccessError says what a store does not let this process do.
type AccessError struct{ Pool, What, Cure string }

func (e *AccessError) Error() string { return fmt.Sprintf("pool %s: %s: %s", e.Pool, e.What, e.Cure) }

// Image is an image opened for reading. ReadAt may be called concurrently and
// follows [io.ReaderAt]: what reaches past the end is cut short with io.EOF.
type Image interface {
	io.ReaderAt
	// Size in bytes: of the device where the pool has devices, which is more
	// than what was written to it, else of the file.
	Size() int64
	// Close frees the handle. No ReadAt may be in flight or follow.
	Close() error
}

// Draft is an image being written. Bytes that were not written read as zeros.
// WriteAt may be called concurrently for ranges that do not overlap, and
// answers ErrFull and ErrFenced; after an error the draft is only good for
// Abort.
type Draft interface {
	io.WriterAt
	// Size is the most bytes that the image can hold, math.MaxInt64 where only
	// the disk is the limit.
	Size() int64
	// Open makes durable what was written and opens it as [Pool.Open] does: to
	// verify an image before other processes see it. A store that cannot show an
	// image before its commit, such as S3, opens the local draft; its Commit reads
	// the image back from the store, and compares it with the draft byte by byte. No
	// WriteAt may be in flight or follow. The handle is closed before Commit or Abort.
	Open(ctx context.Context) (Image, error)
	// Commit verifies the proof that Create was given, makes the image durable
	// and then visible, read-only, whole: when it returns nil the image survives
	// a power cut. It may take as long as writing and reading the image. No WriteAt
	// may be in flight. After an error the image may or may not exist; Abort, then
	// Create again. ErrExists if another draft of that name was committed first,
	// ErrFenced if another process took the image over, ErrInUse, which names the
	// process and its address, if another client could still write to the image.
	Commit(ctx context.Context) error
	// Abort gives the draft up and leaves nothing that hinders the next
	// Create: no bytes that were written take up space. It does so even if ctx
	// has ended. Where others can read the image before its commit, it verifies the
	// proof, and leaves everything if that fails: they may rely on the image. After Commit, or a second time, it does nothing, so it can be
	// deferred.
	Abort(ctx context.Context) error
}

// Editor is a finished image opened for erasing. ReadAt sees what WriteAt
// wrote. WriteAt never enlarges the image. ReadAt may be called concurrently, and
// so may WriteAt for ranges that do not overlap.
type Editor interface {
	io.ReaderAt
	io.WriterAt
	Size() int64
	// Flush returns when what was written is in order before what is written next:
	// a power cut never keeps the later bytes and loses the earlier ones.
	Flush() error
	// Commit flushes, and returns nil when whoever opens the image from now on reads
	// what was written, also after a power cut. Only then may the database be told
	// of it. Where a pool changes images in place, Flush has done so already. Where a
	// pool cannot, Commit verifies the proof that Edit was given, and replaces the
	// whole image at once, if it was written to: until Commit returns, the image is
	// the old one or the new one, never a mixture, and never incomplete; what was not
	// written is proven to be as in the old one before it is replaced.
	// *format.DamageError if the store does not return the new image as it was sent.
	// ErrInUse if another process changed the image meanwhile, which stays as that
	// process left it; ErrFenced if another process took the image over. After an
	// error the editor is only good for Close.
	Commit(ctx context.Context) error
	// InPlace reports whether WriteAt changes the image itself. Where it does not,
	// Commit writes the whole image.
	InPlace() bool
	// Close frees the handle and makes the image read-only again. It does not
	// flush, and what a pool could not write in place is lost without a Commit. A
	// second Close does nothing.
	Close() error
}

// Space is the room in a pool, in bytes.
type Space struct {
	Free  int64 // what the pool can still take, by its space and its quota
	Total int64 // Free, and what is stored in the pool, by Winery or by others
}

// Unlimited is the room in a store that has no limit that can be asked for.
var Unlimited = Space{Free: math.MaxInt64, Total: math.MaxInt64}

// Pool keeps images. See the package comment for what holds for all methods.
// A name that [CheckName] refuses is answered with ErrName.
type Pool interface {
	// Name is the pool's name in the configuration and in the shards' rows.
	Name() string

	// Format is the format of all of its images. The pool itself looks into none.
	Format() format.Format

	// Create starts an empty image, which replaces what an interrupted packing or
	// Reserve left under that name. Where a pool's images have a size, it is the
	// pool's usual size, or room bytes if that is more. ErrFull, which names the
	// bytes needed and free, if the pool has no room for that many now; with room
	// 0 only a write detects a full pool.
	//
	// Another process that has the image open for writing is an earlier holder of
	// the claim: where the pool cannot keep both drafts apart, that process, dead
	// or alive, is fenced off and gets ErrFenced. ErrInUse, which names the
	// process and its address, only if it cannot be fenced, or uses this same
	// pool.
	//
	// When this process has the image alone and has not changed a byte, Create
	// verifies the proof, and asks it whether an existing image may be replaced.
	// It may also verify the proof earlier, to spare a successor. An error of the
	// proof ends Create, which returns the error and leaves the image unchanged.
	Create(ctx context.Context, name string, room int64, proof ReplaceProof) (Draft, error)

	// Open opens an image from the store itself, past the caches of this
	// host, mapped or not: for verification. ErrNotFound.
	Open(ctx context.Context, name string) (Image, error)

	// OpenMapped opens an image as readers see it on this host; after
	// [WithoutCache], past what this process has cached of the image before.
	// ErrNotMapped.
	OpenMapped(ctx context.Context, name string) (Image, error)

	// Edit opens a finished image for erasing, and verifies the proof once the
	// image is locked. A long piece of work verifies it again between its parts.
	// ErrNotFound; ErrInUse if another process edits or writes the image.
	Edit(ctx context.Context, name string, proof Proof) (Editor, error)

	// Reserve makes an empty image, mapped writable where the pool maps, for
	// a packer that is configured not to create images. It leaves an image
	// that exists as it is.
	Reserve(ctx context.Context, name string) error

	// Unreserve undoes the mapping that Reserve made, and leaves the image: it
	// is for the caller to know that no packer of this host needs it. Nothing
	// happens if there is no such mapping. ErrInUse if a process has it open.
	Unreserve(ctx context.Context, name string) error

	// Map makes a finished image readable on this host, and read-only; it is
	// for the caller to know that it is finished. Nothing happens if it is
	// mapped so already. ErrNotFound.
	Map(ctx context.Context, name string) error

	// Unmap undoes Map. Nothing happens if the image is not mapped or does
	// not exist, or where every image of the pool counts as mapped. ErrInUse
	// where the pool can see that it is being read.
	Unmap(ctx context.Context, name string) error

	// Mapped returns the names of the images that are mapped read-only on
	// this host, in one listing however many there are.
	Mapped(ctx context.Context) (map[string]bool, error)

	// List returns the names of all images in ascending order. Whether drafts
	// are among them is the pool's choice.
	List(ctx context.Context) ([]string, error)

	// Remove verifies the proof once the image is locked, and destroys the image. It may
	// also verify it earlier. ErrNotFound; ErrInUse where the pool can see that the image
	// is open for writing, or was replaced meanwhile; ErrFenced if another process took
	// it over. The pool does not see all readers: the caller must know that no reader
	// needs the image.
	Remove(ctx context.Context, name string, proof Proof) error

	// Space returns the room in the pool now, or Unlimited. ErrNoPool.
	Space(ctx context.Context) (Space, error)

	// CheckAccess returns nil if the store lets this process read images, and with
	// write also make and change them; else *AccessError, ErrNoPool. It changes nothing.
	CheckAccess(ctx context.Context, write bool) error

	// Init makes a pool that does not exist, where Winery may: the folder of a
	// directory pool. ErrNoPool where an administrator makes pools, as in Ceph.
	// Nothing happens if the pool exists. No other method makes a pool.
	Init(ctx context.Context) error

	// Marker returns the marker that SetMarker stored: a short text that
	// distinguishes this pool from every other, and from an empty mount point. It
	// is no image, neither to List nor to Python Winery. ErrNoMarker, ErrNoPool.
	Marker(ctx context.Context) ([]byte, error)

	// SetMarker stores the marker; it survives a power cut when SetMarker
	// returns nil. Readers find the old marker or the new one, whole. Unless
	// replace is set a marker is not replaced: of several that store the first
	// one at once, all but one get ErrExists. ErrNoPool.
	SetMarker(ctx context.Context, marker []byte, replace bool) error

	// Close frees what the pool holds. Images that it opened must have been
	// closed before. What it mapped stays mapped.
	Close() error
}

// CheckRoom returns an error that matches ErrFull and names both numbers if more
// bytes are needed than are free.
func CheckRoom(needed, free int64) error {
	if needed > free {
		return fmt.Errorf("%w: %d bytes are needed, %d are free", ErrFull, needed, free)
	}
	return nil
}

// validName excludes the dot, so that no image can be called "..", nor like the
// other files of a directory pool, and a leading dash, so that a command does not
// take the name of an image for an option.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// Check is what every call of a pool with a name begins with: it returns the error of a
// context that has ended, or of [CheckName].
func Check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return CheckName(name)
}

// CheckName returns an error that matches ErrName unless name is 1 to 64 ASCII
// letters, digits, '_' and '-', and begins with a letter or digit. The names of
// shards are such.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%w: %.80q (want 1 to 64 letters, digits, '_' or '-')", ErrName, name)
	}
	return nil
}
