// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"winery/pool"
	"winery/pool/draftfile"
)

// folderMode lets others list the pool; each image has its own mode.
const folderMode fs.FileMode = 0o755

// Init implements [pool.Pool]. Made by root, the folder belongs to the owner of
// base_directory, so that daemons which are not root may pack into it.
func (p *Pool) Init(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := draftfile.MakeFolder(p.dir, folderMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pool %s: init: %w", p.name, err)
	}
	return syncFolder(filepath.Dir(p.dir))
}

func (p *Pool) markerPath() string { return filepath.Join(p.dir, ".winery", "marker") }

// Marker implements [pool.Pool].
func (p *Pool) Marker(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	marker, err := os.ReadFile(p.markerPath())
	if errors.Is(err, unix.EACCES) {
		return nil, p.denied("read", p.markerPath())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return marker, p.fail("read the marker", "", err)
	}
	if err := p.exists(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("pool %s: %w in %s", p.name, pool.ErrNoMarker, p.dir)
}

// exists returns ErrNoPool where the pool has no folder.
func (p *Pool) exists() error {
	_, err := os.Stat(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pool %s: %w: no folder %s", p.name, pool.ErrNoPool, p.dir)
	}
	return p.fail("stat", p.dir, err)
}

// SetMarker implements [pool.Pool].
func (p *Pool) SetMarker(ctx context.Context, marker []byte, replace bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.exists(); err != nil {
		return err
	}
	return p.fail("write the marker", "", p.setMarker(marker, replace))
}

func (p *Pool) setMarker(marker []byte, replace bool) (err error) {
	folder := filepath.Dir(p.markerPath())
	if err := draftfile.MakeFolder(folder, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.CreateTemp(folder, "new-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, draftfile.Remove(f)) }()
	if _, err := f.Write(marker); err != nil {
		return err
	}
	err = draftfile.GiveAway(f)
	if errors.Is(err, fs.ErrPermission) {
		err = nil // others can read it
	}
	if err := errors.Join(err, f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	put := os.Link
	if replace {
		put = os.Rename
	}
	if err := put(f.Name(), p.markerPath()); err != nil {
		return err
	}
	return errors.Join(syncFolder(folder), p.syncDir())
}
