// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/hashcache"
	"winery/internal/metrics"
	"winery/pool"
	"winery/sharedbase"
)

const (
	// attempts is how often an object is looked up that is not where the
	// index says. Each state follows on the other and takes far longer than a
	// lookup, so that a second attempt finds it, unless something is wrong.
	attempts = 3
	// minRounds and maxRounds are how many lookups are in flight at once, see
	// depth. One alone would be delayed by a large object or a stalled connection;
	// where the CPU is the limit, four were a third slower than two with 8 clients.
	// sharedbase has 8 connections for lookups unless it is configured otherwise.
	minRounds, maxRounds = 2, 8
	// maxIDs and maxContents bound a round, the latter because its contents
	// are in memory together and the first waits for the last.
	maxIDs, maxContents = 4096, 256
)

// Options of a Reader. Base, Pools and Log must be set.
type Options struct {
	Base *sharedbase.SharedBase
	// Pools, by their names, must stay open as long as the reader.
	Pools map[string]pool.Pool
	// CacheSize is how many images are kept open, at least 1, besides those
	// that are being read.
	CacheSize int
	// Calls is how many calls may be in flight to the images of all pools together,
	// for each occupies a thread. Each pool has the same part of them: up to 256, and the
	// rest for calls that have been in flight for HangAfter. 0: 256 to each pool.
	Calls int
	// Memory is how many bytes of contents calls to images may read at the same time.
	// What a call reads counts until the call returns, even if its caller no longer
	// waits. Contents of up to 32 KiB do not count. 0: 512 MiB.
	// A caller that admits what it reads, within a budget of no more, is refused only
	// where calls were left behind.
	Memory int64
	// HangAfter is for how long calls into an image may be in flight while none of them
	// returns, and no read within them, before reads in it are refused. 0: 10 s.
	HangAfter time.Duration
	// Hashes keeps the hash functions of images that are not open. It may be nil.
	Hashes *hashcache.Cache
	// Metrics may be nil.
	Metrics *metrics.Client
	Log     *slog.Logger
}

// Reader reads objects. Its methods may be called concurrently. Errors that
// are not of this package come from the database ([sharedbase.ErrUnavailable]
// and others) or from a pool's devices, and name the object or shard.
type Reader struct {
	Options
	images *images
	index  *coalescer[struct{}, sharedbase.ObjID, answer[sharedbase.Location]]
	tables [parts]*coalescer[string, sharedbase.ObjID, answer[sharedbase.Content]]
	warn   rate.Sometimes // of images that cannot be read
}

// NewReader makes a Reader. It does not connect to anything.
func NewReader(o Options) *Reader {
	r := &Reader{
		Options: o,
		images:  newImages(o),
		warn:    rate.Sometimes{Interval: 10 * time.Second},
		index: newCoalescer(newDepth(minRounds, maxRounds), maxIDs, func(ctx context.Context, _ struct{}, ids []sharedbase.ObjID) ([]answer[sharedbase.Location], error) {
			return apart(ctx, ids, o.Base.Locate)
		}),
	}
	for p, limit := range [parts]int{size: maxIDs, small: maxContents, whole: 1, hashed: maxIDs} {
		r.tables[p] = newCoalescer(newDepth(minRounds, maxRounds), limit, func(ctx context.Context, shard string, ids []sharedbase.ObjID) ([]answer[sharedbase.Content], error) {
			return apart(ctx, ids, func(ctx context.Context, ids []sharedbase.ObjID) ([]sharedbase.Content, error) {
				return o.Base.Content(ctx, shard, ids, part(p).atMost())
			})
		})
	}
	return r
}

// Close closes the images. No method may be running. Close waits at most
// HangAfter for calls to images whose callers no longer wait.
func (r *Reader) Close() { r.images.close() }

// Contains says whether the object exists. It asks the index alone.
func (r *Reader) Contains(ctx context.Context, id sharedbase.ObjID) (bool, error) {
	at, err := r.locate(ctx, id)
	return exists(at), err
}

// Size returns the size of the object's content in bytes. It does not read the
// content. Errors are those of Get.
func (r *Reader) Size(ctx context.Context, id sharedbase.ObjID) (int64, error) {
	at, err := r.locate(ctx, id)
	if err != nil {
		return 0, err
	}
	found, err := r.get(ctx, want{id: id, part: size}, at)
	return found.Size, err
}

// Get returns the object's content, whose SHA-256 is id. Before it reads more
// than 32 KiB it calls admit, if that is not nil, with the size in bytes, and
// returns an error of admit. It returns ErrNotFound, *CorruptError, an error that
// matches [pool.ErrNotMapped] or ErrPoolNotConfigured where this host cannot reach the
// object, or ErrImageUnavailable where the image of its shard does not answer.
func (r *Reader) Get(ctx context.Context, id sharedbase.ObjID, admit Admit) ([]byte, error) {
	at, err := r.locate(ctx, id)
	if err != nil {
		return nil, err
	}
	return r.content(ctx, id, at, admit)
}

func (r *Reader) content(ctx context.Context, id sharedbase.ObjID, at sharedbase.Location, admit Admit) ([]byte, error) {
	found, err := r.get(ctx, want{id: id, part: small}, at)
	if err != nil || found.Bytes != nil {
		return found.Bytes, err
	}
	if admit != nil {
		if err := admit(found.Size); err != nil {
			return nil, err
		}
	}
	found, err = r.get(ctx, want{id, whole, found.Size}, at)
	return found.Bytes, err
}

func (r *Reader) locate(ctx context.Context, id sharedbase.ObjID) (sharedbase.Location, error) {
	found, err := r.index.do(ctx, struct{}{}, []sharedbase.ObjID{id})
	if err != nil {
		return sharedbase.Location{}, lookupError(id, err)
	}
	return found[0].value, lookupError(id, found[0].err)
}

func lookupError(id sharedbase.ObjID, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("looking up object %x: %w", id, err)
}

func exists(at sharedbase.Location) bool { return at.ShardID != 0 }

// get reads an object that the index had at at a moment ago.
func (r *Reader) get(ctx context.Context, w want, at sharedbase.Location) (sharedbase.Content, error) {
	began := time.Now()
	var newerThan time.Time // the first attempt takes any image that is open
	if w.part == hashed {
		newerThan = began // with the cached head of an image, nothing is hashed
	}
	for attempt := 1; exists(at); attempt++ {
		found, err := r.read(ctx, w, at, newerThan)
		if err == nil {
			return found, nil
		}
		if attempt == attempts || ctx.Err() != nil || errors.Is(err, sharedbase.ErrUnavailable) || errors.Is(err, ErrImageUnavailable) ||
			errors.Is(err, pool.ErrUnavailable) { // which the pool has waited for already
			return sharedbase.Content{}, explain(err, w.id, at)
		}
		newerThan = began
		if at, err = r.locate(ctx, w.id); err != nil {
			return sharedbase.Content{}, err
		}
	}
	return sharedbase.Content{}, ErrNotFound
}

// read reads an object from the image of its shard, opened after newerThan, else
// from the table, else from an image that another pool has of the shard: the
// shard may have been moved to a pool that this host has not mapped yet.
func (r *Reader) read(ctx context.Context, w want, at sharedbase.Location, newerThan time.Time) (sharedbase.Content, error) {
	image, table := Places(at.State)
	if !image {
		return r.fromTable(ctx, w, at)
	}
	found, err := r.fromImage(ctx, at.Pool, w, at.Shard, newerThan)
	if err == nil {
		return found, nil
	}
	unreachable := errors.Is(err, pool.ErrNotMapped) || errors.Is(err, ErrPoolNotConfigured)
	if table {
		found, tableErr := r.fromTable(ctx, w, at)
		if tableErr == nil && !unreachable && !errors.Is(err, ErrImageUnavailable) { // which is in the log already
			r.warn.Do(func() {
				r.Log.Warn("object read from the table, because its image cannot be read",
					"shard", at.Shard, "pool", at.Pool, "object", fmt.Sprintf("%x", w.id), "err", err)
			})
		}
		if !errors.Is(tableErr, sharedbase.ErrNoTable) {
			return found, tableErr
		}
	}
	if unreachable {
		if found, ok := r.fromAnotherPool(ctx, w, at, newerThan); ok {
			return found, nil
		}
	}
	return sharedbase.Content{}, err
}

// Places returns where the objects of a shard are. An import by Python commits
// the index rows while the shard is IMPORTING: it has its image then, and no
// table.
func Places(s sharedbase.ShardState) (image, table bool) {
	importing := s == sharedbase.StateImporting
	return s.ImageAvailable() || importing, s != sharedbase.StateReadOnly && !importing
}

// ErrPoolNotConfigured is returned, wrapped, for an image in a pool that is not among
// [Options.Pools].
var ErrPoolNotConfigured = errors.New("the pool is not configured")

func (r *Reader) fromImage(ctx context.Context, from string, w want, name string, newerThan time.Time) (sharedbase.Content, error) {
	p := r.Pools[from]
	if p == nil {
		return sharedbase.Content{}, fmt.Errorf("pool %q: %w", from, ErrPoolNotConfigured)
	}
	return r.images.get(ctx, p, name, w, newerThan)
}

// fromAnotherPool returns false where no other pool gives the object.
func (r *Reader) fromAnotherPool(ctx context.Context, w want, at sharedbase.Location, newerThan time.Time) (sharedbase.Content, bool) {
	for name := range r.Pools {
		if name == at.Pool {
			continue
		}
		if found, err := r.fromImage(ctx, name, w, at.Shard, newerThan); err == nil {
			r.Log.Debug("object read from the image of another pool", "shard", at.Shard, "pool", at.Pool, "read_from", name)
			return found, true
		}
	}
	return sharedbase.Content{}, false
}

func (r *Reader) fromTable(ctx context.Context, w want, at sharedbase.Location) (sharedbase.Content, error) {
	w.counted(r.Metrics).TableRequested(at.Pool)
	found, err := r.tables[w.part].do(ctx, at.Shard, []sharedbase.ObjID{w.id})
	if err == nil {
		err = found[0].err
	}
	if err != nil {
		return sharedbase.Content{}, err
	}
	content := found[0].value
	if content.Size < 0 {
		return sharedbase.Content{}, errAbsent
	}
	return content, verify(w.id, content)
}

// errDigest: the bytes are not the object's.
var errDigest = errors.New("checksum mismatch")

// errSize: an image says that an object is larger than it was a moment ago.
var errSize = errors.New("the object's size changes between two reads")

// errImpossibleSize: an image says that an object is larger than any can be.
var errImpossibleSize = errors.New("the image says that the object has 1 GiB or more, which no writer can store")

// verify is the only place that hashes content between storage and callers. It
// accepts a content that was not read.
func verify(id sharedbase.ObjID, c sharedbase.Content) error {
	if c.Bytes != nil && sha256.Sum256(c.Bytes) != id {
		return errDigest
	}
	return nil
}

// explain adds to err what a reader knows about why an object, which the index
// has at at, could not be read.
func explain(err error, id sharedbase.ObjID, at sharedbase.Location) error {
	var damage *format.DamageError
	switch {
	case errors.Is(err, format.ErrNotFound):
		err = errAbsent
		fallthrough
	case errors.Is(err, errAbsent), errors.Is(err, errDigest), errors.Is(err, errSize), errors.Is(err, errImpossibleSize), errors.Is(err, sharedbase.ErrDamaged),
		errors.As(err, &damage):
		return &CorruptError{ID: id, Shard: at.Shard, Err: err}
	case errors.Is(err, pool.ErrNotMapped):
		host, _ := os.Hostname()
		return fmt.Errorf("object %x: shard %s is %s and its image in pool %s cannot be read on %s; is winery-rbd-mapper running there? %w",
			id, at.Shard, at.State, at.Pool, host, err)
	}
	return fmt.Errorf("object %x: shard %s (%s): %w", id, at.Shard, at.State, err)
}
