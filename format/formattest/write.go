// SPDX-License-Identifier: GPL-3.0-or-later

package formattest

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"winery/format"
	"winery/test/expect"
)

func newWriter(t *testing.T, f format.Format, limit int64) format.Writer {
	t.Helper()
	w, err := f.NewWriter(make(Device, limit), limit)
	expect.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// sizeBound: the worst case are tiny objects, since the index is most of the image.
func sizeBound(t *testing.T, f format.Format) {
	for _, n := range []int{0, 1, 2, 40, 1000, 30_000} {
		objects := make([][]byte, n)
		for i := range objects {
			objects[i] = []byte{byte(i), byte(i >> 8)}
		}
		_ = newImage(t, f, objects) // on a device of that size
	}
}

func duplicate(t *testing.T, f format.Format) {
	w := newWriter(t, f, 1<<20)
	err := errors.Join(add(w, []byte("twice")), add(w, []byte("twice")))
	if err == nil {
		_, err = w.Finish()
	}
	if !errors.Is(err, format.ErrDuplicate) {
		t.Errorf("got %v", err)
	}
}

func tooLarge(t *testing.T, f format.Format) {
	objects := contents(20)
	size := len(newImage(t, f, objects))
	var limits []int
	for limit := range 600 { // about all parts of a header
		limits = append(limits, limit)
	}
	for limit := 600; limit < size-100; limit += 97 { // images of the same objects may differ a little in size
		limits = append(limits, limit)
	}
	for _, limit := range limits {
		w, err := f.NewWriter(make(Device, limit), int64(limit))
		for i := 0; err == nil && i < len(objects); i++ {
			err = add(w, objects[i])
		}
		if err == nil {
			_, err = w.Finish()
		}
		if w != nil {
			_ = w.Close()
		}
		if !errors.Is(err, format.ErrTooLarge) {
			t.Fatalf("%d bytes in %d: %v", size, limit, err)
		}
	}
}

// broken is a device whose writes fail once so many bytes were written.
type broken struct {
	mu   sync.Mutex
	left int
}

var errBroken = errors.New("broken device")

func (b *broken) WriteAt(p []byte, _ int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left -= len(p); b.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// brokenDevice: the device fails at the start, among the objects, and after them.
func brokenDevice(t *testing.T, f format.Format) {
	object := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{})
	for _, left := range []int{0, 1000, 5 << 20, 20<<20 + 900} {
		w, err := f.NewWriter(&broken{left: left}, 1<<30)
		if err == nil {
			for i := 0; err == nil && i < 20; i++ {
				_, _ = random.Read(object) // which does not compress, even with the others
				err = add(w, object)
			}
			if err == nil {
				_, err = w.Finish()
			}
			if again := add(w, []byte("later")); !errors.Is(again, errBroken) {
				t.Errorf("after %d bytes, later: %v", left, again)
			}
			expect.NoError(t, w.Close())
		}
		if !errors.Is(err, errBroken) {
			t.Errorf("after %d bytes: %v", left, err)
		}
	}
}

func afterTheEnd(t *testing.T, f format.Format) {
	w := newWriter(t, f, 1<<20)
	_, err := w.Finish()
	expect.NoError(t, err)
	if err := add(w, []byte("late")); err == nil {
		t.Error("added after Finish")
	}
	if _, err := w.Finish(); err == nil {
		t.Error("finished twice")
	}
	expect.NoError(t, w.Close())
	expect.NoError(t, w.Close())
}

// unfinished: an image that is being written in the place of another one does not
// open before Finish.
func unfinished(t *testing.T, f format.Format) {
	wants := func(d Device, want bool) {
		t.Helper()
		got, err := f.Unfinished(d, int64(len(d)), "test")
		if got != want || err != nil {
			t.Errorf("unfinished is %v, %v; want %v", got, err, want)
		}
		if _, err := f.Open(d, int64(len(d)), "test"); errors.As(err, new(*format.DamageError)) != want {
			t.Errorf("opening it: %v", err)
		}
	}
	objects := contents(100)
	d := append(newImage(t, f, objects), make([]byte, 10_000)...)
	wants(d, false)
	w, err := f.NewWriter(d, int64(len(d)))
	expect.NoError(t, err)
	wants(d, true)
	for _, o := range objects {
		expect.NoError(t, add(w, o))
	}
	expect.NoError(t, w.Close())
	wants(d, true)
	wants(nil, true)
	wants(make(Device, 10_000), true)
	flipped := newImage(t, f, objects)
	flipped[0] ^= 1
	if got, err := f.Unfinished(flipped, int64(len(flipped)), "test"); got || err != nil {
		t.Errorf("a damaged image is unfinished: %v, %v", got, err)
	}
}
