// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"winery/pool"
	"winery/pool/draftfile"
)

// draft is an image that is built in a local file.
type draft struct {
	pool     *Pool
	name     string
	file     *os.File // nil once the draft was committed or aborted already
	proof    pool.ReplaceProof
	leftover *object // what there was under name at Create, and may be replaced; or nil
	left     *object // what a failed Commit left in the store; or nil
}

// Create implements [pool.Pool]. Drafts of one name do not meet until they commit; an
// upload of another process under this name ends, though, as that process has lost its
// claim.
func (p *Pool) Create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (pool.Draft, error) {
	if err := p.checkWritable(ctx, name); err != nil {
		return nil, err
	}
	d, err := p.create(ctx, name, room, proof)
	if err != nil {
		return nil, p.fail("create", name, err)
	}
	return d, nil
}

func (p *Pool) create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (*draft, error) {
	leftover, err := p.find(ctx, name)
	if err != nil {
		return nil, err
	}
	// After the object was noted, so that the noted object is no successor's image.
	if err := pool.Verify(ctx, proof); err != nil {
		return nil, err
	}
	if leftover != nil {
		existing := newReadAhead(p.image(name, *leftover, p.patience))
		if err := errors.Join(pool.MayReplace(ctx, proof, existing), existing.Close()); err != nil {
			return nil, err
		}
	}
	if err := p.abortUploads(ctx, name); err != nil {
		return nil, err
	}
	if err := p.removePythons(name); err != nil {
		return nil, err
	}
	f, err := p.localFile(name, room)
	if err != nil {
		return nil, err
	}
	return &draft{pool: p, name: name, file: f, proof: proof, leftover: leftover}, nil
}

// removePythons removes the file that a packer of Python Winery left on this host, which
// has lost its claim: as soon as the shard is packed, Python's mapper would upload that
// file, finished or not, in the place of the image.
func (p *Pool) removePythons(name string) error {
	folder, err := p.folder()
	if err == nil {
		err = os.Remove(filepath.Join(folder, name+p.at.extension))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (d *draft) Size() int64 { return maxImage }

func (d *draft) WriteAt(b []byte, off int64) (int, error) {
	n, err := d.file.WriteAt(b, off)
	return n, d.pool.fail("write", d.name, err)
}

// Open opens the local file. What it has is compared with the store by Commit.
func (d *draft) Open(ctx context.Context) (pool.Image, error) {
	if err := d.alive(ctx, "open"); err != nil {
		return nil, err
	}
	f, err := os.Open(d.file.Name())
	if err != nil {
		return nil, d.pool.fail("open", d.name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(d.pool.fail("open", d.name, err), f.Close())
	}
	return localImage{f, info.Size()}, nil
}

// localImage is a draft opened for reading.
type localImage struct {
	*os.File
	size int64
}

func (i localImage) Size() int64 { return i.size }

func (d *draft) Commit(ctx context.Context) error {
	if err := d.alive(ctx, "commit"); err != nil {
		return err
	}
	info, err := d.file.Stat()
	if err != nil {
		return d.pool.fail("commit", d.name, err)
	}
	u := &publication{pool: d.pool, name: d.name, file: d.file, size: info.Size(), replaces: d.leftover, proof: d.proof}
	published, err := u.run(ctx)
	if err == nil {
		err = d.pool.removeVersions(ctx, d.name, *published)
	}
	if err != nil {
		d.left = published
		return d.pool.fail("commit", d.name, err)
	}
	return d.discard("commit")
}

// alive fails if ctx has ended or the draft was committed or aborted already.
func (d *draft) alive(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.file == nil {
		return d.pool.fail(op, d.name, os.ErrClosed)
	}
	return nil
}

// Abort also removes the image that a failed Commit left in the store, if the claim
// still holds.
func (d *draft) Abort(ctx context.Context) error {
	if d.file == nil {
		return nil
	}
	err := d.discard("abort")
	if d.left == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aborting)
	defer cancel()
	if pool.Verify(ctx, d.proof) != nil {
		return err // a successor may have found the image to be right
	}
	return errors.Join(err, d.pool.fail("abort", d.name, d.pool.removeObject(ctx, d.name, *d.left)))
}

// discard removes the local file.
func (d *draft) discard(op string) error {
	f := d.file
	d.file = nil
	return d.pool.fail(op, d.name, draftfile.Remove(f))
}
