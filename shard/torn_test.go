// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"winery/format"
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
		c := &crashing{device: bytes.Clone(image), kept: bytes.Clone(image), left: at + 1}
		_, err := swhshard.Erase(t.Context(), c, int64(len(image)), "test", 1, idsOf(victims))
		if err == nil {
			if c.flushes != 4 {
				t.Errorf("%d flushes", c.flushes)
			}
			break
		}
		if len(c.since) == 0 { // it was a flush
			continue
		}
		last := c.since[len(c.since)-1]
		before := bytes.Clone(c.kept)
		for range 2 { // without the writes before the last one, then with them
			for n := range len(last.p) {
				for _, part := range []change{{last.at, last.p[:n]}, {last.at + int64(n), last.p[n:]}} {
					d := bytes.Clone(before)
					copy(d[part.at:], part.p)
					wantHalfErased(t, d, victims, others)
					again := &crashing{device: bytes.Clone(d), kept: d, left: random.IntN(30)}
					_, _ = swhshard.Erase(t.Context(), again, int64(len(image)), "test", 1, idsOf(victims))
					d = again.afterwards(random)
					erase(t, d, idsOf(victims)...)
					gone(t, d, victims)
					holds(t, d, others, int64(len(victims)))
					if cuts++; t.Failed() {
						t.Fatalf("write %d of %d bytes at %d was cut at %d; kept were %d bytes at %d", at, len(last.p), last.at, n, len(part.p), part.at)
					}
				}
			}
			for _, w := range c.since[:len(c.since)-1] {
				copy(before[w.at:], w.p)
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
		if got, err := r.Get(idOf(o)); err != nil || !bytes.Equal(got, o) {
			t.Errorf("object %d: %d bytes instead of %d, %v", i, len(got), len(o), err)
		}
	}
	var left []format.ObjID
	for i, o := range victims {
		_, err := r.Get(idOf(o))
		if err == nil {
			left = append(left, idOf(o))
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
