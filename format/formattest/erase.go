// SPDX-License-Identifier: GPL-3.0-or-later

package formattest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"winery/format"
	"winery/test/expect"
)

func eraseIn(t *testing.T, f format.Format, d Device, objects [][]byte) {
	t.Helper()
	n, err := f.Erase(t.Context(), d, int64(len(d)), "test", 4, IDs(objects))
	if n != len(objects) || err != nil {
		t.Fatalf("erased %d of %d, %v", n, len(objects), err)
	}
}

// gone fails the test if one of the objects can be found in the image, or its id or
// its bytes are in it.
func gone(t *testing.T, f format.Format, d Device, objects [][]byte) {
	t.Helper()
	r := open(t, f, d)
	for i, o := range objects {
		if _, err := r.Check(t.Context(), ID(o)); !errors.Is(err, format.ErrNotFound) {
			t.Fatalf("erased object %d: %v", i, err)
		}
		id := ID(o)
		if len(o) > 15 && bytes.Contains(d, o) || bytes.Contains(d, id[:]) {
			t.Fatalf("erased object %d is still in the image", i)
		}
	}
}

func erase(t *testing.T, f format.Format) {
	objects := contents(200)
	for name, victims := range map[string][]int{
		"one": {7}, "first": {0}, "last": {199}, "in a row": {50, 51, 52}, "mixed": {199, 3, 4, 77, 0, 140},
	} {
		t.Run(name, func(t *testing.T) {
			d := newImage(t, f, objects)
			info, fingerprint := open(t, f, d).Info(), open(t, f, d).Fingerprint()
			var out, left [][]byte
			for i, o := range objects {
				if slices.Contains(victims, i) {
					out = append(out, o)
				} else {
					left = append(left, o)
				}
			}
			// Ids that are absent or named twice do no harm.
			ids := append(IDs(out), ID([]byte("absent")), ID(out[0]), format.ObjID{})
			for _, want := range []int{len(out), 0} {
				n, err := f.Erase(t.Context(), d, int64(len(d)), "test", 1, ids)
				if n != want || err != nil {
					t.Fatalf("erased %d instead of %d, %v", n, want, err)
				}
				gone(t, f, d, out)
				Holds(t, f, d, left, int64(len(out)))
			}
			if r := open(t, f, d); r.Info().Objects != info.Objects || r.Fingerprint() != fingerprint {
				t.Errorf("%+v became %+v", info, r.Info())
			}
		})
	}
}

func eraseAll(t *testing.T, f format.Format) {
	objects := append(contents(30), make([]byte, 5<<20))
	d := newImage(t, f, objects)
	eraseIn(t, f, d, objects)
	gone(t, f, d, objects[:30])
	Holds(t, f, d, nil, int64(len(objects)))
}

func eraseSurvivesPowerCuts(t *testing.T, f format.Format) {
	random := rand.New(rand.NewPCG(1, 2))
	objects := contents(40)
	out, left := objects[10:16], slices.Concat(objects[:10], objects[16:])
	image := newImage(t, f, objects)
	for writes := 0; ; writes++ {
		device := &PowerLoss{Device: bytes.Clone(image), Kept: image, Left: writes}
		_, err := f.Erase(t.Context(), device, int64(len(image)), "test", 1, IDs(out))
		if err == nil {
			if writes < len(out) {
				t.Errorf("only %d writes", writes)
			}
			return
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		for range 10 {
			d := device.Afterwards(random)
			r := open(t, f, d)
			for i, o := range left {
				if _, err := r.Check(t.Context(), ID(o)); err != nil {
					t.Fatalf("power cut at write %d: object %d: %v", writes, i, err)
				}
			}
			_, err := f.Erase(t.Context(), d, int64(len(d)), "test", 1, IDs(out))
			expect.NoError(t, err)
			gone(t, f, d, out)
			Holds(t, f, d, left, int64(len(out)))
		}
	}
}

// unflushable is a device that cannot flush.
type unflushable struct{ Device }

func (unflushable) Flush() error { return errPower }

func eraseFlushes(t *testing.T, f format.Format) {
	objects := contents(5)
	d := newImage(t, f, objects)
	if _, err := f.Erase(t.Context(), unflushable{d}, int64(len(d)), "test", 1, IDs(objects[:1])); !errors.Is(err, errPower) {
		t.Fatalf("got %v", err)
	}
	if _, err := open(t, f, d).Check(t.Context(), ID(objects[0])); errors.Is(err, format.ErrNotFound) {
		t.Error("the entry went before the content was on the device")
	}
}

// forgetful is a device that reports writes as done and does nothing.
type forgetful struct{ Device }

func (forgetful) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func eraseReadsBack(t *testing.T, f format.Format) {
	objects := contents(10)
	d := newImage(t, f, objects)
	_, err := f.Erase(t.Context(), forgetful{d}, int64(len(d)), "test", 1, IDs(objects[3:4]))
	if !errors.As(err, new(*format.DamageError)) {
		t.Errorf("got %v", err)
	}
	Holds(t, f, d, objects, 0)
}

// BadByte is a device with a byte that cannot be read.
type BadByte struct {
	Device
	At int64
}

// ReadAt implements [io.ReaderAt].
func (b BadByte) ReadAt(p []byte, off int64) (int, error) {
	if off <= b.At && b.At < off+int64(len(p)) {
		return 0, unix.EIO
	}
	return b.Device.ReadAt(p, off)
}

// incompressible are n objects that no format makes shorter.
func incompressible(n int) [][]byte {
	objects := make([][]byte, n)
	random := rand.NewChaCha8([32]byte{1})
	for i := range objects {
		objects[i] = make([]byte, 1500+i)
		_, _ = random.Read(objects[i])
	}
	return objects
}

// eraseAroundUnreadable: one byte cannot be read, each in turn. Erase erases all objects
// but the one that has the byte, which it names and leaves as it is; or, where the byte is
// needed for all of them, nothing.
func eraseAroundUnreadable(t *testing.T, f format.Format) {
	objects := incompressible(40)
	out, left := objects[10:20], slices.Concat(objects[:10], objects[20:])
	image := newImage(t, f, objects)
	size, around := int64(len(image)), 0
	for at := int64(0); at < size; at += 101 {
		d := Device(bytes.Clone(image))
		n, err := f.Erase(t.Context(), BadByte{d, at}, size, "test", 1, IDs(out))
		unreadable, named := errors.AsType[*format.UnreadableError](err)
		switch {
		case err == nil:
		case !errors.Is(err, unix.EIO):
			t.Fatalf("byte %d: %v", at, err)
		case !named:
			if n != 0 || !bytes.Equal(d, image) {
				t.Fatalf("byte %d: erased %d, %v; changed: %v", at, n, err, !bytes.Equal(d, image))
			}
		default:
			if around++; len(unreadable.IDs) != 1 || n != len(out)-1 {
				t.Fatalf("byte %d: erased %d, %d cannot be read: %v", at, n, len(unreadable.IDs), err)
			}
			if _, err := open(t, f, d).Check(t.Context(), unreadable.IDs[0]); err != nil {
				t.Fatalf("byte %d: an object that was not erased: %v", at, err)
			}
		}
		_, err = f.Erase(t.Context(), d, size, "test", 1, IDs(out)) // once the byte can be read
		expect.NoError(t, err)
		gone(t, f, d, out)
		Holds(t, f, d, left, int64(len(out)))
	}
	if around < 20 {
		t.Errorf("only %d unreadable bytes were those of one object", around)
	}
}

// eraseInterruptedAroundUnreadable: an Erase was interrupted at one of its writes, each in
// turn, and after that another object cannot be read. Erase erases all objects but those
// that the first one may have half erased, which it names.
func eraseInterruptedAroundUnreadable(t *testing.T, f format.Format) {
	random := rand.New(rand.NewPCG(1, 2))
	objects := incompressible(40)
	first, out, left := objects[10:15], objects[10:20], slices.Concat(objects[:10], objects[20:])
	image := newImage(t, f, objects)
	size := int64(len(image))
	at := int64(bytes.Index(image, objects[30][700:800]))
	if at < 0 {
		t.Fatal("the object is not in the image as it is")
	}
	for writes := 0; ; writes++ {
		device := &PowerLoss{Device: bytes.Clone(image), Kept: image, Left: writes}
		_, err := f.Erase(t.Context(), device, size, "test", 1, IDs(first))
		if err == nil {
			return
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		d := device.Afterwards(random)
		_, err = f.Erase(t.Context(), BadByte{d, at}, size, "test", 1, IDs(out))
		var named []format.ObjID
		if unreadable, some := errors.AsType[*format.UnreadableError](err); some {
			named = unreadable.IDs
		} else if err != nil {
			t.Fatalf("interrupted at write %d: %v", writes, err)
		}
		for i, o := range out {
			_, err := open(t, f, d).Check(t.Context(), ID(o))
			if slices.Contains(named, ID(o)) {
				if i >= len(first) {
					t.Fatalf("interrupted at write %d: object %d was left", writes, i)
				}
			} else if !errors.Is(err, format.ErrNotFound) {
				t.Fatalf("interrupted at write %d: erased object %d: %v", writes, i, err)
			}
		}
		_, err = f.Erase(t.Context(), d, size, "test", 1, IDs(out)) // once the byte can be read
		expect.NoError(t, err)
		gone(t, f, d, out)
		Holds(t, f, d, left, int64(len(out)))
	}
}

func endedContext(t *testing.T, f format.Format) {
	objects := contents(100)
	d := newImage(t, f, objects)
	r := open(t, f, d)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, verifyErr := r.Verify(ctx, nil)
	_, inspectErr := r.Inspect(ctx, nil, func(format.Damage) error { return nil })
	_, checkErr := r.Check(ctx, ID(objects[5]))
	_, pickErr := r.Pick(ctx, 3)
	_, inventoryErr := r.Inventory(ctx)
	_, eraseErr := f.Erase(ctx, d, int64(len(d)), "test", 1, IDs(objects))
	_, restoreErr := r.RestoreTo(ctx, d, int64(len(d)), "test", IDs(objects))
	contentErr := f.RestoreContent(ctx, d, int64(len(d)), "test", objects[5])
	var keysErr error
	for _, keysErr = range r.Keys(ctx) {
		if keysErr == nil {
			break
		}
	}
	for what, err := range map[string]error{
		"Verify": verifyErr, "Inspect": inspectErr, "Check": checkErr, "Pick": pickErr, "Inventory": inventoryErr,
		"Erase": eraseErr, "RestoreTo": restoreErr, "RestoreContent": contentErr, "Keys": keysErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	Holds(t, f, d, objects, 0)
}
