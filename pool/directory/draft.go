// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/pool/draftfile"
)

// draft is an image under its temporary name.
type draft struct {
	pool     *Pool
	name     string
	file     *os.File // locked while open; nil once the draft was committed or aborted already
	direct   *os.File // the same, for writes past the page cache; nil where the file system has no such
	proof    pool.ReplaceProof
	leftover fs.FileInfo // what lay under name at Create, and may be replaced; or nil
}

// Create implements [pool.Pool]. Drafts of one name do not meet until they
// commit, so it never answers ErrInUse.
func (p *Pool) Create(ctx context.Context, name string, room int64, proof pool.ReplaceProof) (pool.Draft, error) {
	if err := pool.Check(ctx, name); err != nil {
		return nil, err
	}
	leftover, err := os.Stat(p.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, p.fail("create", name, err)
	}
	// After the file was noted, so that the noted file is no successor's image.
	err = pool.Verify(ctx, proof)
	if err == nil && leftover != nil {
		err = p.mayReplace(ctx, name, proof)
	}
	if err != nil {
		return nil, fmt.Errorf("pool %s: create %s: %w", p.name, name, err)
	}
	if err := draftfile.RemoveDead(p.dir); err != nil {
		return nil, p.fail("create", name, err)
	}
	if err := p.hasRoom(room); err != nil {
		return nil, p.fail("create", name, err)
	}
	f, err := p.newFile(name)
	if err != nil {
		return nil, p.fail("create", name, err)
	}
	direct, err := os.OpenFile(f.Name(), os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return nil, errors.Join(p.fail("create", name, err), draftfile.Remove(f))
	}
	return &draft{pool: p, name: name, file: f, direct: direct, proof: proof, leftover: leftover}, nil
}

// mayReplace asks the proof about an image's file, which it makes readable if need be.
func (p *Pool) mayReplace(ctx context.Context, name string, proof pool.ReplaceProof) error {
	img, err := p.Open(ctx, name)
	if p.modes && errors.Is(err, fs.ErrPermission) {
		if err = p.Map(ctx, name); err == nil {
			img, err = p.Open(ctx, name)
		}
	}
	if errors.Is(err, pool.ErrNotFound) {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	return errors.Join(pool.MayReplace(ctx, proof, img), img.Close())
}

// hasRoom answers pool.ErrFull unless the file system has room for so many bytes.
func (p *Pool) hasRoom(bytes int64) error {
	space, err := draftfile.Room(p.dir)
	if err != nil {
		return err
	}
	return pool.CheckRoom(bytes, space.Free)
}

// Space implements [pool.Pool]: of the file system, without what is reserved for root.
func (p *Pool) Space(ctx context.Context) (pool.Space, error) {
	if err := ctx.Err(); err != nil {
		return pool.Space{}, err
	}
	space, err := draftfile.Room(p.dir)
	return space, p.fail("free space", "", err)
}

// newFile makes a draft's file and locks it.
func (p *Pool) newFile(name string) (*os.File, error) {
	mode := modeWritable
	if !p.modes {
		mode = 0o666 // less the umask: it is not changed later
	}
	return draftfile.Create(p.dir, name, mode)
}

func (d *draft) Size() int64 { return math.MaxInt64 }

// WriteAt writes whole blocks past the page cache, where an image would displace what
// this host reads.
func (d *draft) WriteAt(b []byte, off int64) (n int, err error) {
	if d.direct != nil && isAligned(b, off) {
		n, err = d.direct.WriteAt(b, off)
		if !errors.Is(err, unix.EINVAL) {
			return n, d.pool.fail("write", d.name, err)
		}
	}
	n, err = d.file.WriteAt(b, off)
	return n, d.pool.fail("write", d.name, err)
}

func (d *draft) Open(ctx context.Context) (pool.Image, error) {
	if err := d.alive(ctx, "open"); err != nil {
		return nil, err
	}
	img, err := d.pool.openDisk(d.file.Name(), d.name)
	if err != nil {
		return nil, err
	}
	return img, nil
}

func (d *draft) Commit(ctx context.Context) error {
	if err := d.alive(ctx, "commit"); err != nil {
		return err
	}
	if d.pool.modes {
		if err := d.file.Chmod(modeMapped); err != nil {
			return d.pool.fail("commit", d.name, err)
		}
	}
	err := d.file.Sync()
	if err == nil {
		err = pool.Verify(ctx, d.proof)
	}
	if err == nil {
		err = d.publish(ctx)
	}
	return d.pool.fail("commit", d.name, err)
}

// publish gives the draft the image's name, in place of the leftover.
func (d *draft) publish(ctx context.Context) error {
	if err := d.removeLeftover(ctx); err != nil {
		return err
	}
	if err := os.Link(d.file.Name(), d.pool.path(d.name)); err != nil {
		return err
	}
	return errors.Join(d.removeFile(), d.pool.syncDir())
}

// removeFile removes the temporary name, and ends the draft.
func (d *draft) removeFile() error {
	err := draftfile.Remove(d.file)
	if d.direct != nil {
		err = errors.Join(err, d.direct.Close())
	}
	d.file, d.direct = nil, nil
	return err
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

// removeLeftover removes only the file that existed at Create, or was reserved
// since, and locks it meanwhile: so no process can put another image under the name
// between the last check of the file and its removal.
func (d *draft) removeLeftover(ctx context.Context) error {
	img, err := d.pool.openWritable(ctx, d.name)
	if errors.Is(err, fs.ErrPermission) {
		img, err = d.pool.open(ctx, d.name, os.O_RDONLY) // another user's file: enough to lock it on a local file system
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer img.Close()
	locked, err := d.pool.lock(img.file, d.name)
	if err != nil || locked == nil {
		return err // link fails if the name is not free
	}
	reserved := locked.Size() == 0
	unchanged := d.leftover != nil && os.SameFile(locked, d.leftover) && locked.ModTime().Equal(d.leftover.ModTime())
	if !reserved && !unchanged {
		return nil
	}
	return os.Remove(d.pool.path(d.name))
}

func (d *draft) Abort(context.Context) error {
	if d.file == nil {
		return nil
	}
	return d.pool.fail("abort", d.name, d.removeFile())
}
