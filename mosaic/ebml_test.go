// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import "testing"

// TestHeads: sizes of each length, at the borders.
func TestHeads(t *testing.T) {
	for length := 1; length <= 8; length++ {
		for _, size := range []int64{0, 1, 1<<(7*length) - 1, 1 << (7*length - 7)} {
			for _, id := range []elementID{idObject, idCounter, idTile} {
				b := appendHead(nil, id, size, length)
				h, err := parseHead(b)
				if err != nil || h != (head{id, size, int64(len(b))}) {
					t.Errorf("size %d in %d bytes: %x gives %+v, %v", size, length, b, h, err)
				}
				for n := range b {
					if _, err := parseHead(b[:n]); err == nil {
						t.Errorf("%x was accepted", b[:n])
					}
				}
			}
		}
		if n := sizeLength(1<<(7*length) - 1); n != length {
			t.Errorf("%d bytes instead of %d", n, length)
		}
		if length < 8 {
			if n := sizeLength(1 << (7 * length)); n != length+1 {
				t.Errorf("%d bytes instead of %d", n, length+1)
			}
		}
	}
	for _, b := range [][]byte{{0}, {0x08, 1, 2, 3, 4, 0x80}, {0xf0, 0}} {
		if h, err := parseHead(b); err == nil {
			t.Errorf("%x gives %+v", b, h)
		}
	}
}
