// SPDX-License-Identifier: GPL-3.0-or-later

package hashcache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// cachedFile is a file of the cache.
type cachedFile struct {
	name string
	size int64
	used time.Time
}

// list makes the directory and returns the files in it. What they leave free may be
// written, up to a share of the size. It needs c.writing.
func (c *Cache) list() ([]cachedFile, error) {
	if err := c.makeDirectory(); err != nil {
		return nil, err
	}
	files, err := c.files()
	if err != nil {
		return nil, err
	}
	c.total = 0
	for _, f := range files {
		c.total += f.size
	}
	c.noteRoom()
	return files, nil
}

func (c *Cache) makeDirectory() error {
	if err := os.MkdirAll(c.Directory, 0o750); err != nil {
		return err
	}
	err := os.Mkdir(c.dir, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return c.checkDirectory()
	}
	if err != nil {
		return err
	}
	// Whatever the umask, and nothing that took the directory's place meanwhile: the
	// mapper is root, the owner of the parent is not.
	made, err := os.OpenFile(c.dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(made.Chmod(dirMode), made.Close())
}

// checkDirectory refuses a link, by which the mapper, which is root, would write and
// remove files elsewhere.
func (c *Cache) checkDirectory() error {
	info, err := os.Lstat(c.dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory; remove it", c.dir)
	}
	return err
}

// evict lists the directory, and removes the files that were not used for longest.
// It needs c.writing.
func (c *Cache) evict() error {
	files, err := c.list()
	if err != nil {
		return err
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
	c.noteRoom()
	return nil
}

// noteRoom sets what may be written before the directory is listed again.
func (c *Cache) noteRoom() { c.room = max(0, min(c.Size/share, c.Size-c.total)) }

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
