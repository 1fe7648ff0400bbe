// SPDX-License-Identifier: GPL-3.0-or-later

package hashcache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"winery/internal/metrics"
)

const (
	folder = "heads-1"
	ending = ".head"
	draft  = ".tmp"
	// usedWithin is how exactly a file says when it was last used.
	usedWithin = time.Hour
	// share of the size that is written before the directory is listed again.
	share = 16
	// The group of the files is that of the processes, whoever of them wrote one.
	dirMode, fileMode = 0o770, 0o660
)

// Options of a Cache. Size and Log must be set.
type Options struct {
	Directory string          // "": no cache
	Size      int64           // bytes of all files together
	Metrics   *metrics.Client // may be nil
	Log       *slog.Logger
}

// Cache keeps heads of images. Its methods may be called concurrently, and on a nil
// *Cache, which keeps nothing. It needs no Close.
type Cache struct {
	Options
	dir     string
	failing atomic.Bool // and that was logged

	writing sync.Mutex // held by the one call of Put that writes; guards:
	total   int64      // bytes in the directory, as far as this process knows
	room    int64      // bytes that may be written before the directory is listed again
	full    time.Time  // when Fill found no room
}

// New returns a Cache in a directory, which is made when it is needed. Without a
// directory it returns nil.
func New(o Options) *Cache {
	if o.Directory == "" {
		return nil
	}
	return &Cache{Options: o, dir: filepath.Join(o.Directory, folder)}
}

// Get returns the head of an image as a file, which the caller closes; nil if the cache
// does not have it.
func (c *Cache) Get(pool, shard string) *os.File {
	if c == nil {
		return nil
	}
	path, err := c.path(pool, shard)
	var f *os.File
	if err == nil {
		f, err = open(path)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.failed(err)
		}
		c.Metrics.HashCacheUsed(pool, metrics.HashMiss)
		return nil
	}
	if info, err := f.Stat(); err == nil && time.Since(info.ModTime()) > usedWithin {
		// Or it is removed too early. Setting it to now needs the right to write only.
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}, unix.AT_SYMLINK_NOFOLLOW)
	}
	c.Metrics.HashCacheUsed(pool, metrics.HashHit)
	return f
}

// Stale counts a head, returned by Get, that did not lead to an object.
func (c *Cache) Stale(pool string) {
	if c != nil {
		c.Metrics.HashCacheUsed(pool, metrics.HashStale)
	}
}

// Put keeps the head of an image, which it asks for only if it writes: not while
// another head is written. Whoever opens the image next brings it then. It removes what
// was not used for longest where that is necessary.
func (c *Cache) Put(pool, shard string, head func() []byte) {
	if c == nil || !c.writing.TryLock() {
		return
	}
	defer c.writing.Unlock()
	c.keep(pool, shard, head())
}

// Fill keeps the head of an image before a reader needs it, if that is possible without
// removing another. It waits for other calls.
func (c *Cache) Fill(pool, shard string, head func() []byte) {
	if c == nil {
		return
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if time.Since(c.full) < usedWithin {
		return
	}
	content := head()
	if size := int64(len(content)); size > c.room {
		if _, err := c.list(); err != nil {
			c.failed(err)
			return
		}
		if size > c.room {
			c.full = time.Now()
			return
		}
	}
	c.keep(pool, shard, content)
}

// keep writes a head, or notes that the directory cannot be written. It needs c.writing.
func (c *Cache) keep(pool, shard string, head []byte) {
	err := c.put(pool, shard, head)
	if err != nil {
		c.room = 0 // list the directory again: others may have freed space, or removed it
		c.failed(err)
		return
	}
	c.Metrics.HashCacheSize(c.total)
}

func (c *Cache) put(pool, shard string, head []byte) error {
	path, err := c.path(pool, shard)
	if err != nil {
		return err
	}
	if contains(path, head) {
		return nil
	}
	size := int64(len(head))
	if size > c.room {
		if err := c.evict(); err != nil || size > c.room {
			return err
		}
	}
	if err := c.write(path, head); err != nil {
		return err
	}
	c.total += size
	c.room -= size
	if c.failing.Swap(false) {
		c.Log.Info("hash functions are cached again", "directory", c.dir)
	}
	return nil
}

// open opens a file of the cache to read. It follows no link, and waits for no pipe: the
// group of the directory can put either there, and the mapper is root.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // c.path has checked the name
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// contains reports whether a file has the bytes of head and no others.
func contains(path string, head []byte) bool {
	f, err := open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() != int64(len(head)) {
		return false
	}
	old := make([]byte, len(head))
	_, err = io.ReadFull(f, old)
	return err == nil && bytes.Equal(old, head)
}

func (c *Cache) write(path string, head []byte) (err error) {
	f, err := os.CreateTemp(c.dir, "*"+draft)
	if err != nil {
		return err
	}
	_, err = f.Write(head)
	err = errors.Join(err, f.Chmod(fileMode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// path refuses names that would lead out of the directory.
func (c *Cache) path(pool, shard string) (string, error) {
	name := pool + "@" + shard + ending
	if strings.ContainsAny(name, "/\x00") {
		return "", fmt.Errorf("%q is no name of a file", name)
	}
	return filepath.Join(c.dir, name), nil
}

func (c *Cache) failed(err error) {
	c.Metrics.HashCacheFailed()
	if !c.failing.Swap(true) {
		c.Log.Warn("cannot cache hash functions; reads are slower until the cache works again", "directory", c.dir, "err", err)
	}
}
