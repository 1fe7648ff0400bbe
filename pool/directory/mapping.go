// SPDX-License-Identifier: GPL-3.0-or-later

package directory

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"winery/pool"
)

// mapped tells whether readers may use the file.
func (p *Pool) mapped(info fs.FileInfo) bool {
	return !p.modes || info.Mode()&0o600 == modeMapped
}

// Map implements [pool.Pool]. It takes a file of mode 0600 too: that is how a
// Python packer leaves a finished image until it maps it anew.
func (p *Pool) Map(ctx context.Context, name string) error {
	return p.setMode(ctx, "map", name, modeMapped)
}

// Unmap implements [pool.Pool]. Readers keep the handles that they have.
func (p *Pool) Unmap(ctx context.Context, name string) error {
	err := p.setMode(ctx, "unmap", name, modeUnmapped)
	if errors.Is(err, pool.ErrNotFound) {
		return nil
	}
	return err
}

func (p *Pool) setMode(ctx context.Context, op, name string, mode fs.FileMode) error {
	if err := p.check(ctx, name); err != nil {
		return err
	}
	info, err := os.Stat(p.path(name))
	if err == nil && p.modes && info.Mode().Perm() != mode {
		err = os.Chmod(p.path(name), mode)
	}
	return p.fail(op, name, err)
}

// Mapped implements [pool.Pool].
func (p *Pool) Mapped(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	err := p.each(ctx, func(e fs.DirEntry) error {
		info, err := e.Info()
		if err == nil && p.mapped(info) {
			names[e.Name()] = true
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // removed since the directory was read
		}
		return err
	})
	return names, err
}
