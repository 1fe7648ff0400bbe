// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"winery/pool"
)

// modeWrite are the bits of the mode that permit any user to write a file.
const modeWrite fs.FileMode = 0o222

// mapped says whether readers may use an image's file. A file whose mode permits
// a user to write counts as mapped only if this process cannot write it, because
// of its mount or its owner: such a file is finished, and this process cannot
// change its mode.
func (p *Pool) mapped(path string, info fs.FileInfo) bool {
	switch mode := info.Mode(); {
	case !p.modes:
		return true
	case mode&modeMapped == 0:
		return false
	case mode&modeWrite == 0:
		return true
	}
	return unix.Access(path, unix.W_OK) != nil
}

// stat returns what there is of an image's file. It follows links, and does not
// find what is no file.
func (p *Pool) stat(name string) (fs.FileInfo, error) {
	info, err := stat(p.path(name))
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	return info, err
}

// stat is changed by tests.
var stat = os.Stat

// errNoFile is returned for a directory, a device or any other file that is not
// regular.
var errNoFile = fmt.Errorf("%w: not a regular file", fs.ErrNotExist)

// Map implements [pool.Pool]. It removes the right to write the file, and gives
// its owner the right to read it. A Python packer may leave a finished image
// writable.
func (p *Pool) Map(ctx context.Context, name string) error {
	if err := pool.Check(ctx, name); err != nil {
		return err
	}
	info, err := p.stat(name)
	if err == nil && !p.mapped(p.path(name), info) {
		err = os.Chmod(p.path(name), info.Mode().Perm()&^modeWrite|modeMapped)
		if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("the file's mode is %v, and this process cannot change it; run `chmod 0400` where that is possible: %w", info.Mode(), err)
		}
	}
	return p.fail("map", name, err)
}

// Unmap implements [pool.Pool]. Readers keep the handles that they have.
func (p *Pool) Unmap(ctx context.Context, name string) error {
	if err := pool.Check(ctx, name); err != nil {
		return err
	}
	_, err := p.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && p.modes {
		err = os.Chmod(p.path(name), modeUnmapped)
	}
	return p.fail("unmap", name, err)
}

// Mapped implements [pool.Pool]. It leaves out a file that was removed since the directory
// was read, or cannot be reached, which Map says: one such file hides no other image.
func (p *Pool) Mapped(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	err := p.each(ctx, func(name string) error {
		info, err := p.stat(name)
		if err == nil && p.mapped(p.path(name), info) {
			names[name] = true
		}
		return nil
	})
	return names, err
}
