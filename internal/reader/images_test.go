// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"winery/internal/reader"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
)

func TestImageIsOpenedOnce(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	all := objects(64, "opened once")
	f.readOnly(all...)
	var readers sync.WaitGroup
	for _, o := range all {
		readers.Go(func() { sameBatch(t, r, []sharedbase.Object{o}) })
	}
	readers.Wait()
	if n := f.pool.opened.Load(); n != 1 {
		t.Errorf("the image was opened %d times", n)
	}
}

func TestFewImagesStayOpen(t *testing.T) {
	const shards, cached, readers, reads = 6, 2, 8, 200
	f := newFixture(t)
	r := f.reader(cached)
	var all []sharedbase.Object
	for i := range shards {
		some := objects(20, strings.Repeat("x", i))
		f.readOnly(some...)
		all = append(all, some...)
	}
	for range reads {
		var running sync.WaitGroup
		for range readers {
			running.Go(func() {
				o := all[rand.IntN(len(all))]
				if content, err := r.Get(t.Context(), o.ID, nil); err != nil || !bytes.Equal(content, o.Content) {
					t.Errorf("%d bytes, %v", len(content), err)
				}
			})
		}
		running.Wait()
		// An image is closed after its last reader was answered, how long after that
		// depends on the load of the machine: the next readers wait for it.
		expect.Eventually(t, "the images over the limit to be closed", func() bool { return f.pool.handles.Load() <= cached })
	}
	expect.Eventually(t, "as many images as the limit to be open", func() bool { return f.pool.handles.Load() == cached })
	// Beyond the limit an image is open only while it is loaded, read or closed.
	if peak := f.pool.peak.Load(); peak > cached+3*readers {
		t.Errorf("%d images were open at once", peak)
	}
	if f.pool.opened.Load() <= shards {
		t.Errorf("images were opened %d times: nothing was evicted", f.pool.opened.Load())
	}
}

// TestStoreUnavailable: a store that does not answer is asked once, and ends a batch.
func TestStoreUnavailable(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	all := objects(3, "in a store that does not answer")
	f.readOnly(all...)
	f.pool.failReads(fmt.Errorf("pool shards: %w", pool.ErrUnavailable))
	if _, err := r.Get(t.Context(), all[0].ID, nil); !errors.Is(err, pool.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	if n := f.pool.opened.Load(); n != 1 {
		t.Errorf("the image was opened %d times", n)
	}
	for what, admit := range map[string]reader.Admit{"sizes": admitAll, "contents": nil} {
		if found, err := r.GetBatch(t.Context(), idsOf(all), admit); !errors.Is(err, pool.ErrUnavailable) {
			t.Errorf("GetBatch of %s: %d objects, %v", what, len(found), err)
		}
	}
	f.pool.failReads(nil)
	sameBatch(t, r, all)
}

// An image whose device fails is opened again, so that the next read uses a
// device that was mapped again.
func TestReadErrors(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	o := object("on a bad device")
	name := f.readOnly(o)
	sameBatch(t, r, []sharedbase.Object{o})

	f.pool.failReads(syscall.EIO)
	_, err := r.Get(t.Context(), o.ID, nil)
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), name) {
		t.Errorf("want the device's error with the shard's name, got %v", err)
	}
	if errors.Is(err, reader.ErrNotFound) || errors.As(err, new(*reader.CorruptError)) {
		t.Errorf("a device that does not answer says nothing of the object: %v", err)
	}
	expect.Eventually(t, "the failed image to be closed", func() bool { return f.pool.handles.Load() == 0 })

	f.pool.failReads(nil)
	opened := f.pool.opened.Load()
	sameBatch(t, r, []sharedbase.Object{o})
	if f.pool.opened.Load() != opened+1 {
		t.Error("the image was not opened again")
	}
}
