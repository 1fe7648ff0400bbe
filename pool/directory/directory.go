// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"winery/format"
	"winery/pool"
	"winery/pool/draftfile"
)

// Modes of an image's file where use_permissions is on.
const (
	modeWritable fs.FileMode = 0o600
	modeMapped   fs.FileMode = 0o400
	modeUnmapped fs.FileMode = 0o000
)

// Settings of a directory pool.
type Settings struct {
	BaseDirectory  string // the pool's folder is in it; Init makes that
	PoolName       string
	UsePermissions bool // file modes are the state of an image
	Format         format.Format
	// NoDirectIO is called once, with the system's error, if images have to be
	// verified through the page cache, since the file system has no O_DIRECT. It
	// may be nil.
	NoDirectIO func(error)
}

// Pool is a [pool.Pool] of files.
type Pool struct {
	name  string
	dir   string
	modes bool

	format     format.Format
	noDirectIO func(error)
}

var _ pool.Pool = (*Pool)(nil)

// New returns the pool. It does not access the disk.
func New(s Settings) (*Pool, error) {
	if err := pool.CheckName(s.PoolName); err != nil {
		return nil, fmt.Errorf("pool_name: %w", err)
	}
	p := &Pool{name: s.PoolName, dir: filepath.Join(s.BaseDirectory, s.PoolName), modes: s.UsePermissions, format: s.Format}
	var once sync.Once
	p.noDirectIO = func(err error) {
		if s.NoDirectIO != nil {
			once.Do(func() { s.NoDirectIO(err) })
		}
	}
	return p, nil
}

// Name implements [pool.Pool].
func (p *Pool) Name() string { return p.name }

// Format implements [pool.Pool].
func (p *Pool) Format() format.Format { return p.format }

// Close implements [pool.Pool]; there is nothing to free.
func (p *Pool) Close() error { return nil }

// Reserve implements [pool.Pool]. It makes nothing where the file would not belong to the
// packers' user: it would be in the way of Go Winery's packers, which do not need it.
func (p *Pool) Reserve(ctx context.Context, name string) error {
	if err := pool.Check(ctx, name); err != nil {
		return err
	}
	f, err := os.OpenFile(p.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeWritable)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return p.fail("reserve", name, err)
	}
	err = draftfile.GiveAway(f)
	if errors.Is(err, fs.ErrPermission) {
		err = os.Remove(f.Name())
	}
	return p.fail("reserve", name, errors.Join(err, f.Close()))
}

// Unreserve implements [pool.Pool]: Reserve maps nothing that would be in the way.
func (p *Pool) Unreserve(ctx context.Context, name string) error { return pool.Check(ctx, name) }

// List implements [pool.Pool]. Drafts are not among the images.
func (p *Pool) List(ctx context.Context) ([]string, error) {
	var names []string
	err := p.each(ctx, func(name string) error {
		names = append(names, name)
		return nil
	})
	return names, err
}

// Remove implements [pool.Pool]. Handles that are open keep the file's bytes. Of
// a link to a file it removes the link.
func (p *Pool) Remove(ctx context.Context, name string, proof pool.Proof) error {
	img, err := p.openLocked(ctx, "remove", name, proof)
	if err != nil {
		return err
	}
	defer img.Close()
	if err := os.Remove(p.path(name)); err != nil {
		return p.fail("remove", name, err)
	}
	return p.fail("remove", name, p.syncDir())
}

// each calls fn for every image in the directory, by ascending name.
func (p *Pool) each(ctx context.Context, fn func(name string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return p.fail("list", "", err)
	}
	for _, e := range entries {
		if pool.CheckName(e.Name()) != nil {
			continue
		}
		if !e.Type().IsRegular() {
			if _, err := p.stat(e.Name()); err != nil {
				continue // not an image; or a link to what cannot be reached, which Open says
			}
		}
		if err := fn(e.Name()); err != nil {
			return p.fail("list", e.Name(), err)
		}
	}
	return nil
}

func (p *Pool) path(name string) string { return filepath.Join(p.dir, name) }

// syncDir makes the entries of the pool's folder durable.
func (p *Pool) syncDir() error { return syncFolder(p.dir) }

func syncFolder(path string) error {
	d, err := os.Open(path) //nolint:gosec // the pool's folder, or next to it
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// fail translates an error of the file system; nil stays nil.
func (p *Pool) fail(op, name string, err error) error {
	what := strings.TrimSpace(op + " " + name)
	var kind error
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(pool.Refusal)): // a number in it is not the file system's
	case errors.Is(err, fs.ErrNotExist) && p.exists() != nil:
		kind = pool.ErrNoPool
	case errors.Is(err, fs.ErrNotExist):
		kind = pool.ErrNotFound
	case errors.Is(err, fs.ErrExist):
		kind = pool.ErrExists
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind = pool.ErrFull
	case errors.Is(err, unix.EWOULDBLOCK):
		kind = pool.ErrInUse
	}
	if kind == nil {
		return fmt.Errorf("pool %s: %s: %w", p.name, what, err)
	}
	return fmt.Errorf("pool %s: %s: %w: %w", p.name, what, kind, err)
}
