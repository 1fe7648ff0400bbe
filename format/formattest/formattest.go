// SPDX-License-Identifier: GPL-3.0-or-later

// Package formattest holds the tests that every format of images must pass, for
// use in the formats' own tests. All images are in memory.
package formattest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"winery/format"
	"winery/test/expect"
)

// Run tests a format.
func Run(t *testing.T, f format.Format) {
	tests := []struct {
		name string
		test func(t *testing.T, f format.Format)
	}{
		{"RoundTrip", roundTrip},
		{"SizesFirst", sizesFirst},
		{"LargerDevice", largerDevice},
		{"SizeBound", sizeBound},
		{"Duplicate", duplicate},
		{"TooLarge", tooLarge},
		{"BrokenDevice", brokenDevice},
		{"AfterTheEnd", afterTheEnd},
		{"Unfinished", unfinished},
		{"Erase", erase},
		{"EraseAll", eraseAll},
		{"EraseSurvivesPowerCuts", eraseSurvivesPowerCuts},
		{"EraseFlushes", eraseFlushes},
		{"EraseReadsBack", eraseReadsBack},
		{"EraseAroundUnreadable", eraseAroundUnreadable},
		{"EraseInterruptedAroundUnreadable", eraseInterruptedAroundUnreadable},
		{"EndedContext", endedContext},
		{"Inventory", inventory},
		{"Fingerprint", fingerprint},
		{"DamageIsFound", damageIsFound},
		{"Restore", restore},
		{"RestoreErased", restoreErased},
		{"RestoreRefuses", restoreRefuses},
		{"RestoreHeadRefuses", restoreHeadRefuses},
		{"CachedHead", cachedHead},
		{"CachedHeadAfterErase", cachedHeadAfterErase},
		{"DamagedHead", damagedHead},
		{"UnreadableImage", unreadableImage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f) })
	}
}

// Device is an image in memory of a fixed size.
type Device []byte

// ReadAt implements [io.ReaderAt].
func (d Device) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(d).ReadAt(p, at) }

// WriteAt implements [io.WriterAt].
func (d Device) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(d)) {
		return 0, fmt.Errorf("a write of %d bytes at %d, past the end at %d", len(p), at, len(d))
	}
	return copy(d[at:], p), nil
}

// Flush implements [format.Device].
func (d Device) Flush() error { return nil }

// contents are n different objects, the first empty, the others of 16 to 1015 bytes. The
// longer ones have 320 bytes in common, of which a format may make a dictionary.
func contents(n int) [][]byte {
	var common []byte
	for i := range 10 {
		sum := sha256.Sum256(fmt.Appendf(nil, "common %d", i))
		common = append(common, sum[:]...)
	}
	objects := make([][]byte, n)
	for i := 1; i < n; i++ {
		seed := sha256.Sum256(fmt.Append(nil, i))
		objects[i] = bytes.Repeat(append(seed[:], common...), 3)[:16+i*7919%1000]
	}
	return objects
}

// ID is the id of an object with a content.
func ID(content []byte) format.ObjID { return sha256.Sum256(content) }

// IDs are those of objects.
func IDs(objects [][]byte) []format.ObjID {
	ids := make([]format.ObjID, len(objects))
	for i, o := range objects {
		ids[i] = ID(o)
	}
	return ids
}

func add(w format.Writer, o []byte) error {
	return w.Add(ID(o), int64(len(o)), bytes.NewReader(o))
}

// newImage returns an image of the objects, exactly as long as it is.
func newImage(t testing.TB, f format.Format, objects [][]byte) Device {
	t.Helper()
	size := int64(0)
	for _, o := range objects {
		size += int64(len(o))
	}
	d := make(Device, f.SizeBound(int64(len(objects)), size))
	w, err := f.NewWriter(d, int64(len(d)))
	expect.NoError(t, err)
	defer w.Close()
	for _, o := range objects {
		expect.NoError(t, add(w, o))
	}
	info, err := w.Finish()
	expect.NoError(t, err)
	if info.Objects != int64(len(objects)) || info.ContentSize != size {
		t.Fatalf("%d objects of %d bytes were written, the image has %+v", len(objects), size, info)
	}
	return d[:info.Size]
}

func open(t testing.TB, f format.Format, d Device) format.Reader {
	t.Helper()
	r, err := f.Open(d, int64(len(d)), "test")
	expect.NoError(t, err)
	return r
}
