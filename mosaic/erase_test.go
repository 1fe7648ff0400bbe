// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/corrupt"
	"winery/test/expect"
)

func erase(t *testing.T, d device, objects [][]byte) int {
	t.Helper()
	n, err := mosaic.Format{}.Erase(t.Context(), d, int64(len(d)), "test", 1, formattest.IDs(objects))
	expect.NoError(t, err)
	return n
}

// elementOf returns where an object's element begins and ends.
func elementOf(t testing.TB, d device, o []byte) (begin, end int64) {
	t.Helper()
	begin, _, end, err := open(t, d).Element(formattest.ID(o))
	expect.NoError(t, err)
	return begin, end
}

// A damaged entry must never make Erase take another object's bytes.
func TestEraseSparesOthers(t *testing.T) {
	objects := contents(40)
	image := newImage(t, mosaic.Format{}, objects)
	position := func(i int) int64 { begin, _ := elementOf(t, image, objects[i]); return begin }
	_, entry := open(t, image).EntryRange(formattest.ID(objects[20])) // it ends with the offset
	_, tiles, index, _, _ := open(t, image).Parts()
	for name, to := range map[string]int64{
		"at another":       position(30),
		"in another":       position(30) + 100,
		"before another":   position(30) - 1,
		"in the next":      position(21) + 1,
		"at the tile":      tiles,
		"in the header":    10,
		"in the index":     index + 5,
		"beyond the index": int64(len(image)),
	} {
		t.Run(name, func(t *testing.T) {
			d := device(bytes.Clone(image))
			var b [8]byte
			binary.BigEndian.PutUint64(b[:], uint64(to))
			copy(d[entry-3:entry], b[5:])
			if to > tiles && to < index && to != position(30) {
				d[to], d[to+1] = 0xf0, 0x80|30 // bytes that happen to look like an object
			}
			before := bytes.Clone(d)
			n, err := mosaic.Format{}.Erase(t.Context(), d, int64(len(d)), "test", 1, formattest.IDs(objects[20:21]))
			if !errors.As(err, new(*format.DamageError)) || n != 0 {
				t.Fatalf("erased %d, %v", n, err)
			}
			if !bytes.Equal(d, before) {
				t.Fatal("the image was changed")
			}
		})
	}
}

// An object whose content is damaged can still be erased, and nothing of the damage is left.
func TestEraseDamagedContent(t *testing.T) {
	for name, f := range formats {
		objects := contents(40)
		d := newImage(t, f, objects)
		_, end := elementOf(t, d, objects[20])
		d[end-1] ^= 1
		if n := erase(t, d, objects[20:21]); n != 1 {
			t.Fatalf("%s: erased %d", name, n)
		}
		holds(t, d, without(objects, 20), 1)
	}
}

// Erasing does not hide damage of what stays.
func TestEraseHidesNoDamage(t *testing.T) {
	objects := contents(40)
	d := newImage(t, mosaic.Format{}, objects)
	erase(t, d, objects[10:12])
	begin, _ := elementOf(t, d, objects[9])
	_, end := elementOf(t, d, objects[12])
	for at := range d[begin:end] {
		damaged := device(bytes.Clone(d))
		damaged[begin+int64(at)] ^= 4
		if _, err := (mosaic.Format{}).Erase(t.Context(), damaged, int64(len(d)), "test", 1, formattest.IDs(objects[30:33])); err != nil {
			continue
		}
		if r, err := mosaic.Open(damaged, int64(len(d)), "test"); err == nil {
			if _, err := r.Verify(t.Context(), nil); err == nil {
				t.Fatalf("the damage of byte %d is not seen any more", at)
			}
		}
	}
}

// TestEraseReadsLittle: neither the tiles nor the index are read.
func TestEraseReadsLittle(t *testing.T) {
	objects := contents(20_000)
	d := newImage(t, mosaic.Format{}, objects)
	src := &countingDevice{device: d}
	n, err := mosaic.Format{}.Erase(t.Context(), src, int64(len(d)), "test", 1, formattest.IDs(objects[100:200]))
	if n != 100 || err != nil {
		t.Fatalf("erased %d, %v", n, err)
	}
	if limit := 100 * (2*16<<10 + 100); src.bytes > limit {
		t.Errorf("read %d bytes of %d to erase 100 objects", src.bytes, len(d))
	}
	holds(t, d, append(objects[:100:100], objects[200:]...), 100)
}

type countingDevice struct {
	device
	bytes int
}

func (c *countingDevice) ReadAt(p []byte, at int64) (int, error) {
	c.bytes += len(p)
	return c.device.ReadAt(p, at)
}

// meeting is an image in which each write waits until so many are in flight.
type meeting struct {
	device
	mu      sync.Mutex
	arrived *sync.Cond
	alone   int // writes that come one by one
	writes  int // in flight
	peak    int
	want    int
}

func (m *meeting) WriteAt(p []byte, at int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.alone--; m.alone >= 0 {
		return m.device.WriteAt(p, at)
	}
	m.writes++
	m.peak = max(m.peak, m.writes)
	m.arrived.Broadcast()
	for m.peak < m.want {
		m.arrived.Wait()
	}
	m.writes--
	return m.device.WriteAt(p, at)
}

func TestEraseInFlight(t *testing.T) {
	objects := contents(100)
	victims, left := objects[1:90], append([][]byte{objects[0]}, objects[90:]...)
	m := &meeting{device: newImage(t, mosaic.Format{}, objects), want: 8, alone: 1}
	m.arrived = sync.NewCond(&m.mu)
	n, err := mosaic.Format{}.Erase(t.Context(), m, int64(len(m.device)), "test", m.want, formattest.IDs(victims))
	if n != len(victims) || err != nil {
		t.Fatalf("erased %d, %v", n, err)
	}
	if m.peak != m.want {
		t.Errorf("%d writes were in flight, want %d", m.peak, m.want)
	}
	holds(t, m.device, left, int64(len(victims)))
}

// stopping ends a context at a write.
type stopping struct {
	device
	left int
	stop context.CancelFunc
}

func (s *stopping) WriteAt(p []byte, at int64) (int, error) {
	if s.left--; s.left == 0 {
		s.stop()
	}
	if s.left < 0 {
		return 0, errors.New("a write after the context ended")
	}
	return s.device.WriteAt(p, at)
}

func TestEraseHearsContext(t *testing.T) {
	objects := contents(40)
	image := newImage(t, mosaic.Format{}, objects)
	for write := 2; write <= 60; write += 13 {
		ctx, stop := context.WithCancel(t.Context())
		s := &stopping{device: bytes.Clone(image), left: write, stop: stop}
		_, err := mosaic.Format{}.Erase(ctx, s, int64(len(image)), "test", 1, formattest.IDs(objects[10:30]))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("write %d: %v", write, err)
		}
		erase(t, s.device, objects[10:30])
		holds(t, s.device, append(objects[:10:10], objects[30:]...), 20)
	}
}

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
	image := newImage(t, mosaic.Format{}, objects)
	cuts := 0
	for at := 0; ; at++ {
		c := &formattest.PowerLoss{Device: bytes.Clone(image), Kept: bytes.Clone(image), Left: at + 1}
		_, err := mosaic.Format{}.Erase(t.Context(), c, int64(len(image)), "test", 1, formattest.IDs(victims))
		if err == nil {
			if c.Flushes != 6 {
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
					_, _ = mosaic.Format{}.Erase(t.Context(), again, int64(len(image)), "test", 1, formattest.IDs(victims))
					d = again.Afterwards(random)
					erase(t, d, victims)
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
	if cuts < 2*2*len(victims)*38 { // of the entries alone
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
	damages := 0
	_, err := r.Inspect(t.Context(), nil, func(x format.Damage) error {
		if damages++; !slices.Contains(left, x.ID) {
			t.Errorf("%x is damaged: %v", x.ID, x)
		}
		return nil
	})
	expect.NoError(t, err)
	if _, err := r.Verify(t.Context(), nil); damages == 0 && err != nil {
		t.Error(err)
	}
	if _, err := r.Pick(t.Context(), 10); err != nil {
		t.Error(err)
	}
}
