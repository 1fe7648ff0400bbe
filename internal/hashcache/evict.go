// SPDX-License-Identifier: GPL-3.0-or-later

package hashcache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// cachedFile is a file of the cache.
type cachedFile struct {
	name string
	size int64
	used time.Time
}

// makeRoom lists the directory, and removes the files that were not used for longest.
// It needs c.writing.
func (c *Cache) makeRoom() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	files, err := c.files()
	if err != nil {
		return err
	}
	c.total = 0
	for _, f := range files {
		c.total += f.size
	}
	slices.SortFunc(files, func(a, b cachedFile) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if c.total <= c.Size-c.Size/share {
			break
		}
		if filepath.Ext(f.name) == draft && time.Since(f.used) < usedWithin {
			continue // another process is writing it
		}
		// Another process may have removed it.
		if err := os.Remove(filepath.Join(c.dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.total -= f.size
	}
	c.room = min(c.Size/share, c.Size-c.total)
	return nil
}

// files lists the files of the cache.
func (c *Cache) files() (files []cachedFile, err error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ending && ext != draft {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, cachedFile{e.Name(), info.Size(), info.ModTime()})
	}
	return files, nil
}
