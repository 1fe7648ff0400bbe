// SPDX-License-Identifier: GPL-3.0-or-later

// Package pooltest holds the tests that every kind of pool must pass, for use
// in the kinds' own tests.
package pooltest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"winery/pool"
	"winery/test/expect"
)

// Run tests the pools that open returns: each existing, without images and
// without a marker, on storage of its own, closed in the test's cleanup, able to hold some images of 8 MiB.
func Run(t *testing.T, open func(t *testing.T) pool.Pool) {
	tests := []struct {
		name string
		test func(t *testing.T, p pool.Pool)
	}{
		{"WrittenIsRead", writtenIsRead},
		{"AbortedLeavesNothing", abortedLeavesNothing},
		{"RoomIsAsked", roomIsAsked},
		{"CreateReplacesCommitted", createReplacesCommitted},
		{"DraftsDoNotMix", draftsDoNotMix},
		{"DraftEndsOnce", draftEndsOnce},
		{"DraftIsReadBack", draftIsReadBack},
		{"ReserveThenCreate", reserveThenCreate},
		{"RefusedCreate", refusedCreate},
		{"RefusedCommit", refusedCommit},
		{"RefusedEdit", refusedEdit},
		{"ReplacedMeanwhile", replacedMeanwhile},
		{"NoProof", noProof},
		{"Edit", edit},
		{"EditAlone", editAlone},
		{"MapAndUnmap", mapAndUnmap},
		{"ListAndRemove", listAndRemove},
		{"ReadingAtTheEnd", readingAtTheEnd},
		{"Absent", absent},
		{"BadNames", badNames},
		{"EndedContext", endedContext},
		{"ManyAtOnce", manyAtOnce},
		{"Marker", marker},
		{"MarkerOnce", markerOnce},
		{"CheckAccess", checkAccess},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

const mib = 1 << 20

// pattern returns n bytes, none of them zero, that seed determines.
func pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	for i := range b {
		b[i] |= 1
	}
	return b
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func create(t *testing.T, p pool.Pool, name string) pool.Draft {
	t.Helper()
	d, err := p.Create(t.Context(), name, 0, Anything{})
	expect.NoError(t, err)
	t.Cleanup(func() { _ = d.Abort(context.Background()) })
	return d
}

func writeAt(t *testing.T, w io.WriterAt, b []byte, off int64) {
	t.Helper()
	if n, err := w.WriteAt(b, off); err != nil || n != len(b) {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(b), off, n, err)
	}
}

// finished makes a committed image that holds content from its beginning.
func finished(t *testing.T, p pool.Pool, name string, content []byte) {
	t.Helper()
	d := create(t, p, name)
	writeAt(t, d, content, 0)
	expect.NoError(t, d.Commit(t.Context()))
}

// opened opens image "one" by one of the pool's two ways to open.
func opened(t *testing.T, open func(context.Context, string) (pool.Image, error)) pool.Image {
	t.Helper()
	img, err := open(t.Context(), "one")
	expect.NoError(t, err)
	t.Cleanup(func() { img.Close() })
	return img
}

// wantContent fails unless the store's image holds want from its beginning
// and, to its end, nothing but zeros.
func wantContent(t *testing.T, p pool.Pool, name string, want []byte) {
	t.Helper()
	img, err := p.Open(t.Context(), name)
	expect.NoError(t, err)
	defer img.Close()
	sameBytes(t, img, want)
}

func sameBytes(t *testing.T, img pool.Image, want []byte) {
	t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	expect.NoError(t, err)
	if int64(len(got)) != img.Size() {
		t.Fatalf("read %d bytes of an image of %d", len(got), img.Size())
	}
	if len(got) < len(want) || !bytes.Equal(got[:len(want)], want) {
		t.Fatalf("the image does not hold the %d bytes that it should", len(want))
	}
	if rest := bytes.TrimLeft(got[len(want):], "\x00"); len(rest) > 0 {
		t.Fatalf("bytes that were not written, at %d of %d", len(got)-len(rest), len(got))
	}
}

// writtenIsRead writes from several goroutines, out of order, and leaves a gap.
func writtenIsRead(t *testing.T, p pool.Pool) {
	want := pattern(1, 7*mib+123)
	clear(want[2*mib : 3*mib+17])
	d := create(t, p, "one")
	if d.Size() < 8*mib {
		t.Fatalf("Size() = %d, want at least 8 MiB", d.Size())
	}
	var wg sync.WaitGroup
	write := func(from, to int) {
		wg.Go(func() {
			if n, err := d.WriteAt(want[from:to], int64(from)); err != nil || n != to-from {
				t.Errorf("WriteAt(%d bytes, %d) = %d, %v", to-from, from, n, err)
			}
		})
	}
	for off := len(want); off > 3*mib+17; off -= 99_999 {
		write(max(off-99_999, 3*mib+17), off)
	}
	write(0, 2*mib)
	wg.Wait()
	expect.NoError(t, d.Commit(t.Context()))

	wantContent(t, p, "one", want)
	expect.NoError(t, p.Map(t.Context(), "one"))
	sameBytes(t, opened(t, p.OpenMapped), want)
}

func readingAtTheEnd(t *testing.T, p pool.Pool) {
	content := pattern(1, 100_000)
	finished(t, p, "one", content)
	expect.NoError(t, p.Map(t.Context(), "one"))
	for what, open := range map[string]func(context.Context, string) (pool.Image, error){
		"Open": p.Open, "OpenMapped": p.OpenMapped,
	} {
		img := opened(t, open)
		size := img.Size()
		for _, tt := range []struct {
			off  int64
			len  int
			n    int
			want error
		}{
			{0, 0, 0, nil},
			{size, 0, 0, nil},
			{0, 10, 10, nil},
			{size - 10, 10, 10, nil},
			{size - 10, 11, 10, io.EOF},
			{size, 1, 0, io.EOF},
			{size + 4096, 1, 0, io.EOF},
		} {
			n, err := img.ReadAt(make([]byte, tt.len), tt.off)
			// At the very end a full read may say EOF already.
			if n != tt.n || (!errors.Is(err, tt.want) && (tt.n < tt.len || !errors.Is(err, io.EOF))) {
				t.Errorf("%s: ReadAt(%d bytes, %d) of %d = %d, %v; want %d, %v", what, tt.len, tt.off, size, n, err, tt.n, tt.want)
			}
		}
		if _, err := img.ReadAt(make([]byte, 1), -1); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: reading at -1: got %v, want an error", what, err)
		}
	}
}
