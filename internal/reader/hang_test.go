// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winery/internal/reader"
	"winery/sharedbase"
	"winery/test/expect"
)

// TestHangingImage stops the answers of an image's device: callers leave when
// their context ends, few calls are left behind, then the image is refused, and
// neighbours are read as before.
func TestHangingImage(t *testing.T) {
	const clients, bound = 300, 32
	f := newFixture(t)
	o := f.options(10)
	o.HangAfter = 10 * time.Second // longer than the test may stand still
	other := f.anotherPool(&o, "others")
	r := f.readerWith(o)
	objects, neighbour := objects(clients, "hangs"), object("in another pool")
	name := f.readOnly(objects...)
	neighbourShard := f.readOnly(neighbour)
	f.move(neighbourShard, other)
	sameBatch(t, r, objects)

	release := f.pool.hangReads()
	defer release()
	ctx, giveUp := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	var refused atomic.Int64
	for _, o := range objects {
		waiting.Go(func() {
			_, err := r.Get(ctx, o.ID, nil)
			switch {
			case errors.Is(err, reader.ErrImageUnavailable):
				refused.Add(1)
			case !errors.Is(err, context.Canceled):
				t.Errorf("the image hangs: %v", err)
			}
		})
	}
	expect.Eventually(t, "calls to hang", func() bool { return f.pool.in.Load() == bound })
	sameBatch(t, r, []sharedbase.Object{neighbour})
	giveUp()
	waiting.Wait()
	if in := f.pool.in.Load(); in != bound {
		t.Errorf("%d calls hang, want %d", in, bound)
	}
	t.Logf("%d clients, %d calls left behind, %d clients refused", clients, f.pool.in.Load(), refused.Load())

	f.logs.Wait(t, "image does not answer")
	began := time.Now()
	for range 10 {
		_, err := r.Get(t.Context(), objects[0].ID, nil)
		if !errors.Is(err, reader.ErrImageUnavailable) || !strings.Contains(err.Error(), name) {
			t.Fatalf("the image hangs: %v", err)
		}
	}
	if took := time.Since(began); took >= o.HangAfter {
		t.Errorf("10 refusals took %v, want them at once", took)
	}
	if in := f.pool.in.Load(); in != bound {
		t.Errorf("%d calls hang, want %d: none was to be made", in, bound)
	}
	sameBatch(t, r, []sharedbase.Object{neighbour})

	release()
	f.logs.Wait(t, "image answers again")
	sameBatch(t, r, objects)
	for _, message := range []string{"image does not answer", "image answers again"} {
		lines := f.logs.Lines(message)
		if len(lines) != 1 || !strings.Contains(lines[0], "shard="+name+" pool=shards calls=") || !strings.Contains(lines[0], "duration=") {
			t.Errorf("%q was logged as %q", message, lines)
		}
	}
}

// TestManyHangingImages bounds the calls into all images of a pool.
func TestManyHangingImages(t *testing.T) {
	const images, each, bound = 10, 32, 256
	f := newFixture(t)
	objects := objects(images*each, "one of many")
	for i := range images {
		f.readOnly(objects[i*each : (i+1)*each]...)
	}
	var r *reader.Reader
	release := func() {}
	defer func() { release() }()
	// An image hangs some time after its first call. As many calls as the bound allows hang
	// at once if they are made within this time, which depends on the machine.
	for o := f.options(images); f.pool.in.Load() != bound; {
		o.HangAfter = max(10*time.Second, 2*o.HangAfter)
		if o.HangAfter > time.Minute {
			t.Fatalf("%d calls hang, want %d", f.pool.in.Load(), bound)
		}
		release()
		expect.Eventually(t, "the calls to return", func() bool { return f.pool.in.Load() == 0 })
		r = f.readerWith(o)
		sameBatch(t, r, objects) // all images are open
		release = f.pool.hangReads()
		wantUnavailable(t, r, objects[:bound])
	}
	wantUnavailable(t, r, objects[bound:]) // of the other images
	if in := f.pool.in.Load(); in != bound {
		t.Errorf("%d calls hang, want %d", in, bound)
	}
	release()
	expect.Eventually(t, "all images to answer", func() bool {
		found, err := r.GetBatch(t.Context(), idsOf(objects), nil)
		return err == nil && !slices.ContainsFunc(found, func(o reader.Found) bool { return o.Err != nil })
	})
}

// wantUnavailable reads objects at the same time, and fails the test unless each read is
// refused.
func wantUnavailable(t *testing.T, r *reader.Reader, objects []sharedbase.Object) {
	t.Helper()
	var waiting sync.WaitGroup
	for _, o := range objects {
		waiting.Go(func() {
			if _, err := r.Get(t.Context(), o.ID, nil); !errors.Is(err, reader.ErrImageUnavailable) {
				t.Errorf("the pool hangs: %v", err)
			}
		})
	}
	waiting.Wait()
}

// TestReadsLeftBehind: the memory of large reads whose callers gave up is bounded.
// Tables, and small objects of other images, are read meanwhile.
func TestReadsLeftBehind(t *testing.T) {
	const clients, bound = 32, 4
	f := newFixture(t)
	o := f.options(10)
	o.HangAfter = time.Minute
	large, small, inTable := object(strings.Repeat("sixteen.", 2<<20)), object("small"), object(strings.Repeat("in a table", 1<<20))
	o.Memory = bound * int64(len(large.Content))
	r := f.readerWith(o)
	f.readOnly(large)
	f.readOnly(small)
	f.write(inTable)
	sameBatch(t, r, []sharedbase.Object{large})

	release := f.pool.hangReadsAbove(32 << 10)
	defer release()
	ctx, giveUp := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	var refused atomic.Int64
	for range clients {
		waiting.Go(func() {
			if _, err := r.Get(ctx, large.ID, nil); errors.Is(err, reader.ErrImageUnavailable) {
				refused.Add(1)
			} else if !errors.Is(err, context.Canceled) {
				t.Errorf("the image hangs: %v", err)
			}
		})
	}
	expect.Eventually(t, "all clients to wait or to be refused", func() bool { return f.pool.in.Load()+refused.Load() == clients })
	giveUp()
	waiting.Wait()
	if in := f.pool.in.Load(); in != bound {
		t.Errorf("%d reads of %d bytes were left behind, want %d", in, len(large.Content), bound)
	}
	if _, err := r.Get(t.Context(), large.ID, nil); !errors.Is(err, reader.ErrImageUnavailable) {
		t.Errorf("with the memory in use: %v", err)
	}
	sameBatch(t, r, []sharedbase.Object{small, inTable})
	release()
	expect.Eventually(t, "the image to be read", func() bool { _, err := r.Get(t.Context(), large.ID, nil); return err == nil })
}

// TestHangingImageWithTable reads an object from its table, once the image
// is known to hang.
func TestHangingImageWithTable(t *testing.T) {
	f := newFixture(t)
	o := f.options(10)
	o.HangAfter = 100 * time.Millisecond
	r := f.readerWith(o)
	kept := object("kept twice")
	f.pack(f.write(kept))
	release := f.pool.hangReads()
	defer release()
	sameBatch(t, r, []sharedbase.Object{kept})
	sameBatch(t, r, []sharedbase.Object{kept})
	release()
}

// TestCloseDuringHangingCalls: a process ends although calls hang.
func TestCloseDuringHangingCalls(t *testing.T) {
	f := newFixture(t)
	o := f.options(10)
	o.HangAfter = 100 * time.Millisecond
	r := reader.NewReader(o)
	lost := object("does not come")
	f.readOnly(lost)
	release := f.pool.hangReads()
	if _, err := r.Get(t.Context(), lost.ID, nil); !errors.Is(err, reader.ErrImageUnavailable) {
		t.Error(err)
	}
	r.Close()
	if len(f.logs.Lines("calls to images do not return")) != 1 {
		t.Error("the log does not say that calls were left behind")
	}
	release()
	expect.Eventually(t, "the call to return", func() bool { return f.pool.handles.Load() == 0 })
}
