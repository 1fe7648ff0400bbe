// SPDX-License-Identifier: GPL-3.0-or-later

package blockcache

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"winery/test/expect"
)

// far is an image that counts how often it is read, and how much.
type far struct {
	content []byte
	mu      sync.Mutex
	reads   int
	bytes   int
}

func newFar(seed uint64, size int) *far {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(content)
	return &far{content: content}
}

func (f *far) fetch(b []byte, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	f.bytes += copy(b, f.content[off:])
	return nil
}

// read reads a part of the image through the cache.
func (f *far) read(t *testing.T, c *Cache, image, version string, off, length int) {
	t.Helper()
	b := make([]byte, length)
	n, err := c.ReadAt(image, version, int64(len(f.content)), b, int64(off), f.fetch)
	if err != nil || n != length || !bytes.Equal(b, f.content[off:off+length]) {
		t.Errorf("%d bytes at %d: %d, %v, or wrong bytes", length, off, n, err)
	}
}

func newCache(t *testing.T, blocks int64) *Cache {
	t.Helper()
	folder := t.TempDir()
	c, err := New(folder, blocks*BlockSize+BlockSize/2)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, c.Close()) })
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	return c
}

// TestSecondRead: what was read is not fetched again, whatever part of it is asked
// for, and a read that misses several blocks is one fetch.
func TestSecondRead(t *testing.T) {
	c, f := newCache(t, 16), newFar(1, 9*BlockSize+77)
	f.read(t, c, "a", "1", 3*BlockSize-5, 2*BlockSize)
	if f.reads != 1 || f.bytes != 4*BlockSize-BlockSize {
		t.Errorf("%d fetches of %d bytes", f.reads, f.bytes)
	}
	f.read(t, c, "a", "1", 2*BlockSize, 3*BlockSize)
	f.read(t, c, "a", "1", 3*BlockSize+1, 1)
	f.read(t, c, "a", "1", 3*BlockSize, 0)
	if f.reads != 1 {
		t.Errorf("%d fetches", f.reads)
	}
	f.read(t, c, "a", "1", BlockSize, 8*BlockSize+77) // blocks in the middle are there
	f.read(t, c, "a", "1", 9*BlockSize, 77)           // the last, which is short
	if f.reads != 2 {
		t.Errorf("%d fetches", f.reads)
	}
}

// TestVersions: images and versions are kept apart, and forgotten.
func TestVersions(t *testing.T) {
	c := newCache(t, 16)
	one, two, other := newFar(1, BlockSize), newFar(2, BlockSize), newFar(3, BlockSize)
	for range 2 {
		one.read(t, c, "a", "1", 0, 100)
		two.read(t, c, "a", "2", 0, 100)
		other.read(t, c, "b", "1", 0, 100)
	}
	if one.reads != 1 || two.reads != 1 || other.reads != 1 {
		t.Errorf("fetches: %d, %d, %d", one.reads, two.reads, other.reads)
	}
	c.Forget("a")
	one.read(t, c, "a", "1", 0, 100)
	two.read(t, c, "a", "2", 0, 100)
	other.read(t, c, "b", "1", 0, 100)
	if one.reads != 2 || two.reads != 2 || other.reads != 1 {
		t.Errorf("fetches: %d, %d, %d", one.reads, two.reads, other.reads)
	}
}

// TestForgottenWhileFetched: what was being fetched when an image was forgotten is
// fetched again.
func TestForgottenWhileFetched(t *testing.T) {
	c, f := newCache(t, 16), newFar(1, BlockSize)
	_, err := c.ReadAt("a", "1", BlockSize, make([]byte, 10), 0, func(b []byte, off int64) error {
		c.Forget("a")
		return f.fetch(b, off)
	})
	expect.NoError(t, err)
	f.read(t, c, "a", "1", 0, 10)
	f.read(t, c, "a", "1", 0, 10)
	if f.reads != 2 {
		t.Errorf("%d fetches, want 2", f.reads)
	}
}

// TestBound: the cache never takes more than its size, and what is read often stays.
func TestBound(t *testing.T) {
	c, f := newCache(t, 8), newFar(1, 100*BlockSize)
	for i := range 100 {
		f.read(t, c, "a", "1", 0, 10)
		f.read(t, c, "a", "1", i*BlockSize, 10)
	}
	if f.reads != 100 {
		t.Errorf("%d fetches, want 100: the first block is read each time", f.reads)
	}
	info, err := c.file.Stat()
	expect.NoError(t, err)
	if info.Size() > 8*BlockSize || len(c.where) > 8 {
		t.Errorf("%d bytes, %d blocks", info.Size(), len(c.where))
	}
	f.read(t, c, "a", "1", 0, 100*BlockSize) // more than fits
}

// TestDamage: a block that the disk changed is fetched again, and so is one that
// another reader's block has just overwritten.
func TestDamage(t *testing.T) {
	c, f := newCache(t, 2), newFar(1, 3*BlockSize)
	f.read(t, c, "a", "1", 0, 10)
	_, err := c.file.WriteAt([]byte{f.content[7] ^ 1}, 7)
	expect.NoError(t, err)
	f.read(t, c, "a", "1", 0, 10)
	if f.reads != 2 {
		t.Errorf("%d fetches", f.reads)
	}
}

// TestErrors: an error of the fetch is returned, and nothing is kept.
func TestErrors(t *testing.T) {
	c, broken := newCache(t, 2), errors.New("broken")
	_, err := c.ReadAt("a", "1", 100, make([]byte, 10), 0, func([]byte, int64) error { return broken })
	if !errors.Is(err, broken) || len(c.where) != 0 {
		t.Errorf("%v, %d blocks", err, len(c.where))
	}
	if _, err := New(t.TempDir(), BlockSize-1); err == nil {
		t.Error("a cache of less than a block")
	}
	if _, err := New("/nonexistent", BlockSize); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestConcurrent: many readers of few slots always get the right bytes.
func TestConcurrent(t *testing.T) {
	c, f := newCache(t, 3), newFar(1, 40*BlockSize)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			chance := rand.New(rand.NewPCG(seed, 0))
			for range 200 {
				off := chance.IntN(39 * BlockSize)
				f.read(t, c, "a", "1", off, 1+chance.IntN(BlockSize))
				if chance.IntN(50) == 0 {
					c.Forget("a")
				}
			}
		})
	}
	wg.Wait()
	if len(c.where) > 3 {
		t.Errorf("%d blocks", len(c.where))
	}
}
