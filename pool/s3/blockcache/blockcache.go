// SPDX-License-Identifier: GPL-3.0-or-later

// Package blockcache keeps blocks of images that are far away in one local file of
// bounded size.
//
// The file has no name, so that nothing of it is left after a crash; a new process
// begins with an empty cache. File and memory grow as they are used. Which block is in
// which slot of the file is kept in memory, about 100 bytes a block, with a checksum: a
// block that the disk, or a race between two readers, has changed counts as absent, and
// so does one that a full disk did not take. Which block makes room for a
// new one is decided by the clock algorithm: one that was not read since the hand
// last passed it. So do blocks of an image that was forgotten: from then on the blocks of
// the image are kept under another name.
package blockcache

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
)

// BlockSize is the size of a block, and what is read at least of an image.
const BlockSize = 64 << 10

// Cache is the blocks. Its methods may be called concurrently.
type Cache struct {
	file *os.File

	maxSlots int

	mu      sync.Mutex
	slots   []slot
	where   map[key]int       // index of slots
	hand    int               // of the clock
	names   map[string]string // under which the blocks of images that were forgotten are kept now
	forgets int               // so far
}

// key names a block: what a new version of an image has is another block.
type key struct {
	image, version string
	block          int64
}

// slot is a place in the file.
type slot struct {
	key      key
	checksum uint32
	used     bool // holds a block
	read     bool // since the hand passed
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// New makes a cache of as many blocks as fit into bytes, in a file in folder.
func New(folder string, bytes int64) (*Cache, error) {
	if bytes < BlockSize {
		return nil, fmt.Errorf("%d bytes are less than a block of %d", bytes, BlockSize)
	}
	f, err := os.CreateTemp(folder, "cache-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Cache{file: f, maxSlots: int(bytes / BlockSize), where: make(map[key]int), names: make(map[string]string)}, nil
}

// Close gives the space back.
func (c *Cache) Close() error { return c.file.Close() }

// ReadAt fills b from offset off of a version of an image of size bytes. What is not
// in the cache is fetched by one call of fetch, which gets whole blocks, and kept. It
// returns len(b), or fetch's error.
func (c *Cache) ReadAt(image, version string, size int64, b []byte, off int64, fetch func(b []byte, off int64) error) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	image = c.nameOf(image) // before fetch: what is fetched while the image is forgotten is not kept for others
	first, last := off/BlockSize, (off+int64(len(b))-1)/BlockSize
	missing := func(block int64) bool {
		start := block * BlockSize
		data := make([]byte, min(BlockSize, size-start))
		if !c.get(key{image, version, block}, data) {
			return true
		}
		copyPart(b, off, data, start)
		return false
	}
	for first <= last && !missing(first) {
		first++
	}
	if first > last {
		return len(b), nil
	}
	for last > first && !missing(last) {
		last--
	}
	start := first * BlockSize
	data := make([]byte, min((last+1)*BlockSize, size)-start)
	if err := fetch(data, start); err != nil {
		return 0, err
	}
	copyPart(b, off, data, start)
	for block := first; block <= last; block++ {
		from := block*BlockSize - start
		c.put(key{image, version, block}, data[from:min(from+BlockSize, int64(len(data)))])
	}
	return len(b), nil
}

// copyPart copies what data, which begins at start, has of b, which begins at off.
func copyPart(b []byte, off int64, data []byte, start int64) {
	if start < off {
		data, start = data[off-start:], off
	}
	copy(b[start-off:], data)
}

// Forget makes all blocks of an image absent, whatever its version, and those that are
// being fetched. It looks at no block: a large cache has millions.
func (c *Cache) Forget(image string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgets++
	c.names[image] = fmt.Sprintf("%s#%d", image, c.forgets)
}

// nameOf returns the name under which the blocks of an image are kept now.
func (c *Cache) nameOf(image string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, ok := c.names[image]; ok {
		return name
	}
	return image
}

// get fills data with a block; false if the cache does not have it.
func (c *Cache) get(k key, data []byte) bool {
	c.mu.Lock()
	at, ok := c.where[k]
	if !ok {
		c.mu.Unlock()
		return false
	}
	c.slots[at].read = true
	want := c.slots[at].checksum
	c.mu.Unlock()
	_, err := c.file.ReadAt(data, int64(at)*BlockSize)
	return err == nil && crc32.Checksum(data, castagnoli) == want
}

// put keeps a block. A disk that fails makes it absent.
func (c *Cache) put(k key, data []byte) {
	at := c.room()
	if _, err := c.file.WriteAt(data, int64(at)*BlockSize); err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty(at) // another put may have had the same slot
	if old, ok := c.where[k]; ok {
		c.empty(old)
	}
	c.slots[at] = slot{key: k, checksum: crc32.Checksum(data, castagnoli), used: true}
	c.where[k] = at
}

// room returns a slot, which it empties.
func (c *Cache) room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.slots) < c.maxSlots {
		c.slots = append(c.slots, slot{})
		return len(c.slots) - 1
	}
	for {
		at := c.hand
		c.hand = (c.hand + 1) % len(c.slots)
		if s := &c.slots[at]; s.used && s.read {
			s.read = false
			continue
		}
		c.empty(at)
		return at
	}
}

// empty needs mu.
func (c *Cache) empty(at int) {
	if c.slots[at].used {
		delete(c.where, c.slots[at].key)
		c.slots[at] = slot{}
	}
}
