// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/test/corrupt"
)

// TestEraseCutAtEveryByte cuts the power at every byte of every write of an
// erasure: of that write the first bytes are on the device, or the last, and of
// the writes since the flush before it all or none.
func TestEraseCutAtEveryByte(t *testing.T) {
	random := corrupt.Random(t)
	objects := contents(30)
	for i := range objects {
		objects[i] = objects[i][:min(len(objects[i]), 3*i)]
	}
	victims := slices.Concat(objects[:2], objects[10:13], objects[29:])
	others := slices.Concat(objects[2:10], objects[13:29])
	image := newImage(t, objects)
	cuts := 0
	for at := 0; ; at++ {
		c := &formattest.PowerLoss{Device: bytes.Clone(image), Kept: bytes.Clone(image), Left: at + 1}
		_, err := swhshard.Erase(t.Context(), c, int64(len(image)), "test", 1, formattest.IDs(victims))
		if err == nil {
			if c.Flushes != 4 {
				t.Errorf("%d flushes", c.Flushes)
			}
			break
		}
		if len(c.Since) == 0 { // it was a flush
			continue
		}
		last := c.Since[len(c.Since)-1]
		before := bytes.Clone(c.Kept)
		for range 2 { // without the writes before the last one, then with them
			for n := range len(last.P) {
				for _, part := range []formattest.Write{{At: last.At, P: last.P[:n]}, {At: last.At + int64(n), P: last.P[n:]}} {
					d := bytes.Clone(before)
					copy(d[part.At:], part.P)
					wantHalfErased(t, d, victims, others)
					again := &formattest.PowerLoss{Device: bytes.Clone(d), Kept: d, Left: random.IntN(30)}
					_, _ = swhshard.Erase(t.Context(), again, int64(len(image)), "test", 1, formattest.IDs(victims))
					d = again.Afterwards(random)
					erase(t, d, formattest.IDs(victims)...)
					gone(t, d, victims)
					holds(t, d, others, int64(len(victims)))
					if cuts++; t.Failed() {
						t.Fatalf("write %d of %d bytes at %d was cut at %d; kept were %d bytes at %d", at, len(last.P), last.At, n, len(part.P), part.At)
					}
				}
			}
			for _, w := range c.Since[:len(c.Since)-1] {
				copy(before[w.At:], w.P)
			}
		}
	}
	t.Logf("%d cuts", cuts)
	if cuts < 4*len(victims)*48 { // of key, position and length alone
		t.Errorf("only %d cuts", cuts)
	}
}

// wantHalfErased requires that others are as they were, and that nothing is
// damaged but victims that still have their keys.
func wantHalfErased(t *testing.T, d device, victims, others [][]byte) {
	t.Helper()
	r := open(t, d)
	for i, o := range others {
		if got, err := r.Get(formattest.ID(o)); err != nil || !bytes.Equal(got, o) {
			t.Errorf("object %d: %d bytes instead of %d, %v", i, len(got), len(o), err)
		}
	}
	var left []format.ObjID
	for i, o := range victims {
		_, err := r.Get(formattest.ID(o))
		if err == nil {
			left = append(left, formattest.ID(o))
		} else if !errors.Is(err, format.ErrNotFound) {
			t.Errorf("victim %d: %v", i, err)
		}
	}
	blamed, _ := inspect(t, d)
	for _, id := range blamed {
		if !slices.Contains(left, id) {
			t.Errorf("%x is damaged", id)
		}
	}
	if _, err := r.Verify(t.Context(), nil); len(blamed) == 0 && err != nil {
		t.Error(err)
	}
	if _, err := r.Pick(t.Context(), 10); err != nil {
		t.Error(err)
	}
}
