// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"winery/pool"
)

// rescued is what the names of files end with that may be the only right copy of an image.
const rescued = ".rescued"

// kept is the path under which the local copy is kept: NAME.ETAG.rescued, with the ETag
// of the version that it replaces.
func (e *editor) kept() string {
	return filepath.Join(e.pool.tmp, e.pool.name, e.name+"."+url.PathEscape(strings.Trim(e.opened.etag, `"`))+rescued)
}

// keep gives the local copy a second name, which stays if this process dies.
func (e *editor) keep() error {
	err := os.Link(e.local.Name(), e.kept())
	if errors.Is(err, fs.ErrExist) {
		err = nil // of the first upload
	}
	return errors.Join(err, e.local.Sync())
}

// settle removes the copies that were kept of the image, where the store is found to have
// the version that the copy was to replace, or what the copy has. Where it has something
// else, only a person can say which of the two is right.
func (e *editor) settle(ctx context.Context) error {
	folder := filepath.Join(e.pool.tmp, e.pool.name)
	files, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), e.name+".") && strings.HasSuffix(f.Name(), rescued) {
			if err := e.settleOne(ctx, filepath.Join(folder, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *editor) settleOne(ctx context.Context, path string) error {
	// So that the store does not complete the copy's upload after this.
	err := e.pool.abortUploads(ctx, e.name)
	if err != nil {
		return err
	}
	if e.opened, err = e.pool.stat(ctx, e.name); err != nil {
		return err
	}
	if path == e.kept() {
		return os.Remove(path)
	}
	f, err := os.Open(path) //nolint:gosec // below tmp_directory
	if err != nil {
		return err
	}
	defer f.Close()
	want, err := sumOf(local{ctx, f})
	if err != nil {
		return err
	}
	got, err := sumOf(io.NewSectionReader(e.version(ctx), 0, e.opened.size))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("the store does not have the image that an interrupted erasure uploaded: %w", e.cure(path))
	}
	return os.Remove(path)
}

// local reads a local file as long as its context lasts. Each read is progress: a file may
// take longer to read than a call may be silent.
type local struct {
	ctx  context.Context
	from io.Reader
}

func (l local) Read(b []byte) (int, error) {
	n, err := l.from.Read(b)
	pool.Progressed(l.ctx)
	return n, cmp.Or(l.ctx.Err(), err)
}

// cure says what a person has to do about a copy that was kept.
func (e *editor) cure(path string) error {
	return fmt.Errorf("the store may have a damaged image, and the right one is in %s: run `wineryctl verify --shard %s`; if it finds damage, upload this file as s3://%s/%s, else remove it",
		path, e.name, e.pool.at.bucket, e.pool.at.image(e.name))
}
