// SPDX-License-Identifier: GPL-3.0-or-later

package rbd_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	ceph "github.com/ceph/go-ceph/rbd"

	"winery/test/cephtest"
	"winery/test/expect"
)

// An image reads the same as through librbd, whatever its layout: with its data in
// another pool or in its own, with other sizes of objects, with stripes, and with a
// parent. What was never written reads as zeros.
func TestReadsAsLibrbd(t *testing.T) {
	t.Parallel()
	pools := cephtest.New(t)
	main := ioContext(t, pools.Pool)
	const size = 10 << 20
	for name, set := range map[string]func(o *ceph.ImageOptions) error{
		"data-pool": func(o *ceph.ImageOptions) error { return o.SetString(ceph.ImageOptionDataPool, pools.DataPool) },
		"one-pool":  func(*ceph.ImageOptions) error { return nil },
		"small-objects": func(o *ceph.ImageOptions) error {
			return o.SetUint64(ceph.ImageOptionOrder, 16)
		},
		"stripes": func(o *ceph.ImageOptions) error {
			expect.NoError(t, o.SetUint64(ceph.ImageOptionStripeUnit, 64<<10))
			return o.SetUint64(ceph.ImageOptionStripeCount, 4)
		},
	} {
		o := ceph.NewRbdImageOptions()
		defer o.Destroy()
		expect.NoError(t, set(o))
		expect.NoError(t, ceph.CreateImage(main, name, size, o))
		fill(t, pools, name, size)
		wantAsLibrbd(t, pools, name)
	}

	parent, err := ceph.OpenImage(main, "one-pool", ceph.NoSnapshot)
	expect.NoError(t, err)
	snapshot, err := parent.CreateSnapshot("snapshot")
	expect.NoError(t, err)
	expect.NoError(t, snapshot.Protect())
	o := ceph.NewRbdImageOptions()
	defer o.Destroy()
	expect.NoError(t, ceph.CloneImage(main, "one-pool", "snapshot", main, "clone", o))
	wantAsLibrbd(t, pools, "clone")
	expect.NoError(t, ceph.RemoveImage(main, "clone"))
	expect.NoError(t, snapshot.Unprotect())
	expect.NoError(t, snapshot.Remove())
	expect.NoError(t, parent.Close())
}

// fill writes random bytes into an image and leaves holes.
func fill(t *testing.T, pools cephtest.Pool, name string, size int64) {
	t.Helper()
	image, err := ceph.OpenImage(ioContext(t, pools.Pool), name, ceph.NoSnapshot)
	expect.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		piece := make([]byte, 1+random.IntN(100_000))
		for i := range piece {
			piece[i] = byte(random.Uint32())
		}
		_, err := image.WriteAt(piece, random.Int64N(size-int64(len(piece))))
		expect.NoError(t, err)
	}
	expect.NoError(t, image.Close())
}

func wantAsLibrbd(t *testing.T, pools cephtest.Pool, name string) {
	t.Helper()
	image, err := ceph.OpenImageReadOnly(ioContext(t, pools.Pool), name, ceph.NoSnapshot)
	expect.NoError(t, err)
	size, err := image.GetSize()
	expect.NoError(t, err)
	want := make([]byte, size)
	_, err = image.ReadAt(want, 0)
	expect.NoError(t, err)
	expect.NoError(t, image.Close())
	if bytes.Count(want, []byte{0}) == len(want) {
		t.Fatalf("%s: there is nothing to read", name)
	}

	ours, err := open(t, settings(pools)).Open(t.Context(), name)
	expect.NoError(t, err)
	got := make([]byte, size)
	n, err := ours.ReadAt(got, 0)
	expect.NoError(t, err)
	if n != len(got) || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes were read, and they differ from librbd's", name, n)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		piece := make([]byte, 1+random.IntN(200_000))
		at := random.Int64N(int64(size) - int64(len(piece)))
		_, err := ours.ReadAt(piece, at)
		expect.NoError(t, err)
		if !bytes.Equal(piece, want[at:at+int64(len(piece))]) {
			t.Fatalf("%s: %d bytes at %d differ", name, len(piece), at)
		}
	}
	expect.NoError(t, ours.Close())
}
