// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/pool"
	"winery/pool/directory"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/expect"
)

// TestMemoryOfReadsLeftBehind: a device answers only small reads, and the callers of
// large ones give up. What is read for them stays within the bound, further large reads
// are refused at once, and small objects are read.
func TestMemoryOfReadsLeftBehind(t *testing.T) {
	const size, bound, clients = 16 << 20, 64 << 20, 32
	large, little := make([]byte, size), []byte("little")
	p := &largeReadsHang{Pool: imagesOf(t, map[string][]byte{"one": large, "two": little}), release: make(chan struct{})}
	c := newImages(Options{CacheSize: 10, Memory: bound, HangAfter: time.Minute, Log: slog.New(slog.DiscardHandler)})
	get := func(ctx context.Context, image string, content []byte) error {
		w := want{id: sha256.Sum256(content), part: whole, bytes: int64(len(content))}
		found, err := c.get(ctx, p, image, w, time.Time{})
		if err == nil && !bytes.Equal(found.Bytes, content) {
			t.Errorf("%d bytes instead of %d", len(found.Bytes), len(content))
		}
		return err
	}
	ctx, giveUp := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	var refused atomic.Int64
	for range clients {
		reading.Go(func() {
			switch err := get(ctx, "one", large); {
			case errors.Is(err, ErrImageUnavailable):
				refused.Add(1)
			case !errors.Is(err, context.Canceled):
				t.Errorf("a read that hangs: %v", err)
			}
		})
	}
	expect.Eventually(t, "all reads to hang or to be refused", func() bool { return p.hanging.Load()+refused.Load() == clients })
	giveUp()
	reading.Wait()
	if held := p.hanging.Load() * size; held > bound {
		t.Errorf("reads left behind hold %d bytes, more than %d", held, bound)
	}
	began := time.Now()
	for range 3 {
		if err := get(t.Context(), "one", large); !errors.Is(err, ErrImageUnavailable) {
			t.Errorf("with the memory in use: %v", err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("refusals took %v, want them at once", took)
	}
	w := want{id: sha256.Sum256(little), part: small}
	if found, err := c.get(t.Context(), p, "two", w, time.Time{}); err != nil || !bytes.Equal(found.Bytes, little) {
		t.Errorf("a small object: %q, %v", found.Bytes, err)
	}
	close(p.release)
	expect.Eventually(t, "the memory to be free", func() bool { return get(t.Context(), "one", large) == nil })
	c.close()
}

// TestMemoryOfOneRead: an object that is larger than the bound is read alone.
func TestMemoryOfOneRead(t *testing.T) {
	content := make([]byte, 1<<20)
	p := imagesOf(t, map[string][]byte{"one": content})
	c := newImages(Options{CacheSize: 10, Memory: 1000, Log: slog.New(slog.DiscardHandler)})
	for range 3 {
		w := want{id: sha256.Sum256(content), part: whole, bytes: int64(len(content))}
		if found, err := c.get(t.Context(), p, "one", w, time.Time{}); err != nil || len(found.Bytes) != len(content) {
			t.Errorf("%d bytes, %v", len(found.Bytes), err)
		}
	}
	c.close()
}

// TestNoMoreThanCharged: an image whose object is larger than what was charged for it.
func TestNoMoreThanCharged(t *testing.T) {
	content := make([]byte, 1<<20)
	p := imagesOf(t, map[string][]byte{"one": content})
	c := newImages(Options{CacheSize: 10, Log: slog.New(slog.DiscardHandler)})
	w := want{id: sha256.Sum256(content), part: whole, bytes: 1000}
	if found, err := c.get(t.Context(), p, "one", w, time.Time{}); found.Bytes != nil || !errors.Is(err, errSize) {
		t.Errorf("%d bytes, %v", len(found.Bytes), err)
	}
	c.close()
}

// imagesOf returns a pool with images of one object each.
func imagesOf(t *testing.T, contents map[string][]byte) pool.Pool {
	t.Helper()
	p, err := directory.New(directory.Settings{Format: shard.Format{}, BaseDirectory: t.TempDir(), PoolName: "shards"})
	expect.NoError(t, err)
	expect.NoError(t, p.Init(t.Context()))
	for name, content := range contents {
		draft, err := p.Create(t.Context(), name, 0, pooltest.Anything{})
		expect.NoError(t, err)
		w, err := shard.NewWriter(draft, draft.Size())
		expect.NoError(t, err)
		expect.NoError(t, w.Add(sharedbase.ObjID(sha256.Sum256(content)), int64(len(content)), bytes.NewReader(content)))
		_, err = w.Finish()
		expect.NoError(t, err)
		expect.NoError(t, w.Close())
		expect.NoError(t, draft.Commit(t.Context()))
	}
	return p
}

// largeReadsHang answers reads of more than 32 KiB once release is closed.
type largeReadsHang struct {
	pool.Pool
	release chan struct{}
	hanging atomic.Int64
}

func (p *largeReadsHang) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	image, err := p.Pool.OpenMapped(ctx, name)
	return hangingImage{image, p}, err
}

type hangingImage struct {
	pool.Image
	pool *largeReadsHang
}

func (i hangingImage) ReadAt(b []byte, at int64) (int, error) {
	if len(b) > smallContent {
		i.pool.hanging.Add(1)
		<-i.pool.release
		i.pool.hanging.Add(-1)
	}
	return i.Image.ReadAt(b, at)
}
