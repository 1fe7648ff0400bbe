// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"winery/format"
	"winery/pool"
	"winery/test/expect"
	"winery/test/logtest"
)

// TestPartlyHangingImages: a part of a pool does not answer, and more calls to it are left
// behind than the pool has slots for calls that return. What is in other parts is read, of
// the same images, too.
func TestPartlyHangingImages(t *testing.T) {
	const images, each = 16, 20
	contents := map[string][]byte{}
	for i := range images {
		contents[fmt.Sprint("image-", i)] = []byte("content")
	}
	p := imagesOf(t, contents)
	synctest.Test(t, func(t *testing.T) {
		logs := new(logtest.Log)
		c := newImages(Options{
			CacheSize: images, Calls: poolCalls + images*each, Pools: map[string]pool.Pool{"shards": p}, Log: logs.Logger(slog.LevelInfo),
		})
		call := func(image string, do func()) error {
			_, err := inImage(t.Context(), c, p, image, time.Time{}, 0, nil, func(format.Getter) (struct{}, error) {
				do()
				return struct{}{}, nil
			})
			return err
		}
		returns, release := func() {}, make(chan struct{})
		hangs := func() { <-release }
		for image := range contents {
			expect.NoError(t, call(image, returns))
			var waiting sync.WaitGroup
			for range each {
				waiting.Go(func() {
					if err := call(image, hangs); !errors.Is(err, ErrImageUnavailable) {
						t.Errorf("a call that hangs: %v", err)
					}
				})
			}
			waiting.Wait()
		}
		if calls, late := len(c.slots["shards"].calls), len(c.slots["shards"].late); calls != 0 || late != images*each {
			t.Errorf("%d slots of the pool are taken, and %d for late calls; want 0 and %d", calls, late, images*each)
		}
		time.Sleep(defaultHangAfter)
		for range 3 { // also long after the trial
			for image := range contents {
				expect.NoError(t, call(image, returns))
				expect.NoError(t, call(image, returns))
			}
			time.Sleep(3 * defaultHangAfter)
		}
		for _, message := range []string{"image does not answer", "image answers again"} {
			if n := len(logs.Lines(message)); n != images {
				t.Errorf("%q was logged %d times, want %d", message, n, images)
			}
		}
		close(release)
		synctest.Wait()
		if calls, late := len(c.slots["shards"].calls), len(c.slots["shards"].late); calls+late != 0 || c.hanging["shards"] != 0 {
			t.Errorf("%d and %d slots of the pool are taken, %d images hang", calls, late, c.hanging["shards"])
		}
		c.close()
	})
}

// enterNow enters a gate as a reader does.
func enterNow(t *testing.T, g *gate) (*call, error) {
	t.Helper()
	hung, err := g.begin()
	if err != nil {
		return nil, err
	}
	return g.enter(t.Context(), hung)
}

// wantRefused fails the test unless a gate refuses a call after so long.
func wantRefused(t *testing.T, g *gate, after time.Duration) {
	t.Helper()
	began := time.Now()
	if _, err := enterNow(t, g); !errors.Is(err, ErrImageUnavailable) {
		t.Errorf("the image hangs: %v", err)
	}
	if took := time.Since(began); took != after {
		t.Errorf("it was refused after %v, want %v", took, after)
	}
}

// TestTrials: an image that hangs gets one call per hangAfter, and never more than its
// slots allow: one call after the other is left behind until then.
func TestTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(&slots{calls: make(chan struct{}, poolCalls)}, time.Minute, func(bool, int, time.Duration) {})
		for n := range imageCalls {
			if n > 0 {
				wantRefused(t, g, 0)
				time.Sleep(time.Minute)
			}
			_, err := enterNow(t, g)
			expect.NoError(t, err)
			if n > 0 {
				wantRefused(t, g, 0) // while the trial is made
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			select {
			case <-g.hung:
			default:
				t.Errorf("after %d calls the image does not hang", n+1)
			}
		}
		for range 3 {
			wantRefused(t, g, 0)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		for c := range g.calls {
			g.leave(c)
		}
		c, err := enterNow(t, g)
		expect.NoError(t, err)
		g.leave(c)
	})
}

// TestLateCalls: a late call frees its slot of the pool as long as there is one for late
// calls, and waits for one.
func TestLateCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := &slots{calls: make(chan struct{}, 1), late: make(chan struct{}, 1)}
		image := func() *gate { return newGate(of, time.Minute, func(bool, int, time.Duration) {}) }
		a, b, c := image(), image(), image()
		first, err := enterNow(t, a)
		expect.NoError(t, err)
		time.Sleep(2 * time.Minute)
		second, err := enterNow(t, b)
		expect.NoError(t, err)
		time.Sleep(2 * time.Minute)
		wantRefused(t, c, time.Minute)
		a.leave(first)
		time.Sleep(2 * time.Minute)
		third, err := enterNow(t, c)
		expect.NoError(t, err)
		if len(of.calls) != 1 || len(of.late) != 1 {
			t.Errorf("%d calls, and %d late ones", len(of.calls), len(of.late))
		}
		b.leave(second)
		c.leave(third)
		if len(of.calls) != 0 || len(of.late) != 0 {
			t.Errorf("after all returned, %d calls, and %d late ones", len(of.calls), len(of.late))
		}
	})
}
