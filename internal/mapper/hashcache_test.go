// SPDX-License-Identifier: GPL-3.0-or-later

package mapper_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"winery/internal/hashcache"
	"winery/test/expect"
	"winery/test/roletest"
)

// TestFillsTheHashCache: readers of the host find the hash function of each image.
func TestFillsTheHashCache(t *testing.T) {
	roletest.EachKind(t, func(t *testing.T, s *roletest.Stage) {
		names := packed(t, s, 2)
		m := onHost(s, "a")
		m.Hashes = hashcache.New(hashcache.Options{Directory: t.TempDir(), Size: 1 << 20, Log: s.Log})
		step(t, m, true)
		for _, name := range names {
			cached := m.Hashes.Get(s.Pool.Name(), name)
			if cached == nil {
				t.Fatalf("the cache lacks the hash function of image %s", name)
			}
			head, err := io.ReadAll(cached)
			expect.NoError(t, errors.Join(err, cached.Close()))
			if !bytes.Equal(head, s.Image(t, name).CacheHead()) {
				t.Errorf("the cached hash function of image %s differs", name)
			}
		}
	})
}

// TestHungHashCache: a cache whose disk does not answer keeps no image from being recorded.
func TestHungHashCache(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	names := packed(t, s, 2)
	m := onHost(s, "a")
	m.ImageTimeout = 4 * time.Second
	m.Hashes = hashcache.New(hashcache.Options{Directory: t.TempDir(), Size: 1 << 20, Log: s.Log})
	writing, release := make(chan struct{}), make(chan struct{})
	var hung sync.WaitGroup
	hung.Go(func() {
		m.Hashes.Put("another", "image", func() []byte {
			close(writing)
			<-release
			return nil
		})
	})
	<-writing
	for _, name := range names { // the second is not even tried
		m.OnlyPrefix = name
		step(t, m, true)
		wantMapped(t, s, name, "a")
	}
	close(release)
	hung.Wait()
	kept := func(name string) bool {
		cached := m.Hashes.Get(s.Pool.Name(), name)
		if cached != nil {
			expect.NoError(t, cached.Close())
		}
		return cached != nil
	}
	expect.Eventually(t, "the call that was left behind", func() bool { return kept(names[0]) })
	if kept(names[1]) {
		t.Error("the second hash function was kept")
	}
}
