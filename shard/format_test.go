// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"winery/format"
	"winery/shard"
)

// The worst case are tiny objects: the index is most of the image.
func TestSizeBound(t *testing.T) {
	for _, objects := range []int64{0, 1, 2, 3, 40, 1000, 33_333, 200_000} {
		image := discard{}
		w, err := shard.NewWriter(image, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for n := range objects {
			var id format.ObjID
			binary.BigEndian.PutUint64(id[:], uint64(n+1)*0x9e3779b97f4a7c15)
			if err := w.Add(id, 1, bytes.NewReader([]byte{1})); err != nil {
				t.Fatal(err)
			}
		}
		info, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if bound := swhshard.SizeBound(objects, objects); info.Size > bound || bound > info.Size+10*objects+16384 {
			t.Errorf("%d objects: an image of %d bytes, a bound of %d", objects, info.Size, bound)
		}
	}
}
