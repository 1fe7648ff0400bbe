// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"winery/format"
	"winery/pool"
	"winery/pool/draftfile"
)

// editor is an image that is changed in a local copy, which is made by the first
// WriteAt. Until then it reads the version that it opened.
type editor struct {
	pool   *Pool
	name   string
	proof  pool.Proof
	ctx    context.Context //nolint:containedctx // of Edit, for the copy, which may take long
	opened object

	mu      sync.Mutex // for the making of the copy, and what was written
	local   *os.File   // nil before the first WriteAt
	written []extent   // of local, since the last Commit

	closed bool
}

// Edit implements [pool.Pool]. ErrInUse is returned where this process edits the image;
// another process shows at Commit.
func (p *Pool) Edit(ctx context.Context, name string, proof pool.Proof) (pool.Editor, error) {
	if err := p.checkWritable(ctx, name); err != nil {
		return nil, err
	}
	if !p.lock(name) {
		return nil, p.fail("edit", name, fmt.Errorf("%w: this process edits it already", pool.ErrInUse))
	}
	e := &editor{pool: p, name: name, proof: proof, ctx: ctx}
	if err := e.open(ctx); err != nil {
		p.unlock(name)
		return nil, p.fail("edit", name, err)
	}
	return e, nil
}

func (e *editor) open(ctx context.Context) (err error) {
	if e.opened, err = e.pool.stat(ctx, e.name); err != nil {
		return err
	}
	if err := pool.Verify(ctx, e.proof); err != nil {
		return err
	}
	return e.settle(ctx)
}

func (p *Pool) lock(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	locked := !p.editing[name]
	p.editing[name] = true
	return locked
}

func (p *Pool) unlock(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.editing, name)
}

func (e *editor) Size() int64 { return e.opened.size }

func (e *editor) InPlace() bool { return false }

func (e *editor) ReadAt(b []byte, off int64) (int, error) {
	if f := e.copied(); f != nil {
		return f.ReadAt(b, off)
	}
	n, err := e.version(e.ctx).ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = e.pool.fail("read", e.name, inUse(err))
	}
	return n, err
}

func (e *editor) version(ctx context.Context) pinned { return pinned{e.pool, ctx, e.name, e.opened} }

func (e *editor) WriteAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > e.opened.size {
		return 0, e.pool.fail("erase", e.name, fmt.Errorf("write of %d bytes at %d past the end at %d", len(b), off, e.opened.size))
	}
	if err := e.copy(extent{off, off + int64(len(b))}); err != nil {
		return 0, e.pool.fail("erase", e.name, inUse(err))
	}
	n, err := e.local.WriteAt(b, off)
	return n, e.pool.fail("erase", e.name, err)
}

// Flush implements [pool.Editor]: only Commit is seen outside, all at once.
func (e *editor) Flush() error { return nil }

// copied returns the local copy, or nil before there is one.
func (e *editor) copied() *os.File {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.local
}

// copy makes the local copy of the version that was opened, if there is none, and notes
// what will be written to it.
func (e *editor) copy(write extent) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.local == nil {
		f, err := e.pool.localFile(e.name, e.opened.size)
		if err != nil {
			return err
		}
		if err := e.download(f); err != nil {
			return errors.Join(err, draftfile.Remove(f))
		}
		e.local = f
	}
	e.written = append(e.written, write)
	return nil
}

// download fills f with the version that was opened.
func (e *editor) download(f *os.File) error {
	group, ctx := errgroup.WithContext(e.ctx)
	group.SetLimit(partConcurrency)
	for off := int64(0); off < e.opened.size && ctx.Err() == nil; off += pieceSize {
		group.Go(func() error {
			piece := limited{ctx, io.NewSectionReader(e.version(ctx), off, pieceSize)}
			_, err := io.CopyBuffer(io.NewOffsetWriter(f, off), piece, make([]byte, pieceSize))
			return err
		})
	}
	return group.Wait()
}

// Commit implements [pool.Editor]. Where the bucket keeps versions, it removes those
// before this one, which hold what was erased; also those that an interrupted Commit
// left.
func (e *editor) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := e.commit(ctx)
	failure := e.pool.fail("commit the changes of", e.name, inUse(err))
	if errors.Is(err, errDiffers) {
		failure = errors.Join(failure, &format.DamageError{Image: e.name, What: "the store does not return what was uploaded"})
	}
	return failure
}

func (e *editor) commit(ctx context.Context) error {
	if len(e.written) == 0 {
		return e.pool.removeVersions(ctx, e.name, e.opened)
	}
	if err := e.pool.listsVersions(ctx, e.name, e.opened); err != nil {
		return err
	}
	u := &publication{
		pool: e.pool, name: e.name, file: e.local, size: e.opened.size, replaces: &e.opened, proof: e.proof,
		expected: copied{e.version(ctx), e.local, merged(e.written)}, beforeComplete: e.keep,
	}
	published, err := u.run(ctx)
	if err != nil && u.doubtful {
		return errors.Join(err, e.cure(e.kept()))
	}
	if gone := os.Remove(e.kept()); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	if err != nil {
		return err
	}
	e.opened, e.written = *published, nil
	return e.pool.removeVersions(ctx, e.name, e.opened)
}

// inUse explains the error that the image is not the one that was opened any more.
func inUse(err error) error {
	if replaced(err) {
		return fmt.Errorf("%w: another process has changed the image meanwhile: %s", pool.ErrInUse, shortMessage(err))
	}
	return err
}

// Close implements [pool.Editor].
func (e *editor) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	e.pool.unlock(e.name)
	if e.local == nil {
		return nil
	}
	return e.pool.fail("close", e.name, draftfile.Remove(e.local))
}
