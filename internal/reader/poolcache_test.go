// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"context"
	"testing"

	"winery/pool"
	"winery/sharedbase"
)

// wrongCache is a pool whose cache has a wrong answer of the store.
type wrongCache struct {
	pool.Pool
	right, wrong []byte // what the store has, and what the cache has in its place
}

func (p wrongCache) OpenMapped(ctx context.Context, name string) (pool.Image, error) {
	image, err := p.Pool.OpenMapped(ctx, name)
	if err != nil || pool.SkipsCache(ctx) {
		return image, err
	}
	return cachedImage{image, p}, nil
}

type cachedImage struct {
	pool.Image
	cache wrongCache
}

func (i cachedImage) ReadAt(b []byte, off int64) (int, error) {
	n, err := i.Image.ReadAt(b, off)
	copy(b, bytes.ReplaceAll(b[:n], i.cache.right, i.cache.wrong))
	return n, err
}

// TestWrongPoolCache: a wrong answer of the store that a pool has cached damages no object.
func TestWrongPoolCache(t *testing.T) {
	for what, was := range map[string]string{"content": "an object in a cache", "header": "SWHShard"} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			o := object("an object in a cache")
			f.readOnly(o)
			options := f.options(10)
			options.Pools["shards"] = wrongCache{f.pool, []byte(was), bytes.ToUpper([]byte(was))}
			sameBatch(t, f.readerWith(options), []sharedbase.Object{o})
		})
	}
}
