// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"winery/format"
	"winery/format/formattest"
)

func erase(t *testing.T, d device, ids ...format.ObjID) int {
	t.Helper()
	n, err := swhshard.Erase(t.Context(), d, int64(len(d)), "test", 1, ids)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// gone checks that none of the objects can be read from the image, or is in it.
func gone(t *testing.T, d device, erased [][]byte) {
	t.Helper()
	r := open(t, d)
	for i, o := range erased {
		if _, err := r.Get(formattest.ID(o)); !errors.Is(err, format.ErrNotFound) {
			t.Fatalf("erased object %d: %v", i, err)
		}
		id := formattest.ID(o)
		if len(o) > 15 && bytes.Contains(d, o) || bytes.Contains(d, id[:]) {
			t.Fatalf("erased object %d is still in the image", i)
		}
	}
}

func TestEraseAll(t *testing.T) {
	objects := append(contents(30), make([]byte, 5<<20))
	d := newImage(t, objects)
	if n := erase(t, d, formattest.IDs(objects)...); n != len(objects) {
		t.Fatalf("erased %d", n)
	}
	gone(t, d, objects[:30])
	holds(t, d, nil, int64(len(objects)))
	for i, b := range d[512:open(t, d).Layout().IndexPosition] {
		if b != 0 {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

// entryOf returns the place of an object's index entry.
func entryOf(d device, o []byte) int64 {
	id := formattest.ID(o)
	return int64(bytes.LastIndex(d, id[:]))
}

// A damaged entry must never make Erase take another object's bytes.
func TestEraseSparesOthers(t *testing.T) {
	objects := contents(40)
	image := newImage(t, objects)
	position := func(i int) uint64 { return binary.BigEndian.Uint64(image[entryOf(image, objects[i])+32:]) }
	victim := entryOf(image, objects[20])
	for name, to := range map[string]uint64{
		"at another":       position(30),
		"in another":       position(30) + 100,
		"before another":   position(30) - 8,
		"in the next":      position(21) + 1,
		"in the header":    100,
		"beyond the index": uint64(len(image)),
	} {
		t.Run(name, func(t *testing.T) {
			d := bytes.Clone(image)
			put(d, victim+32, to)
			if to > 512 && to < uint64(len(image)) && to != position(30) {
				put(d, int64(to), 40) // bytes that happen to look like a length
			}
			before := bytes.Clone(d)
			n, err := swhshard.Erase(t.Context(), device(d), int64(len(d)), "test", 1, formattest.IDs(objects[20:21]))
			var damage *format.DamageError
			if !errors.As(err, &damage) || n != 0 {
				t.Fatalf("erased %d, %v", n, err)
			}
			if !bytes.Equal(d, before) {
				t.Fatal("the image was changed")
			}
		})
	}
}

// An object whose content is damaged can still be erased.
func TestEraseDamagedContent(t *testing.T) {
	objects := contents(40)
	d := newImage(t, objects)
	at := binary.BigEndian.Uint64(d[entryOf(d, objects[20])+32:])
	d[at+8] ^= 1
	if n := erase(t, d, formattest.ID(objects[20])); n != 1 {
		t.Fatalf("erased %d", n)
	}
	holds(t, d, append(append([][]byte{}, objects[:20]...), objects[21:]...), 1)
}

// meeting is an image in which each write waits until so many are in flight.
type meeting struct {
	device
	mu      sync.Mutex
	arrived *sync.Cond
	writes  int // in flight
	peak    int
	want    int
}

func (m *meeting) WriteAt(p []byte, at int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
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
	m := &meeting{device: newImage(t, objects), want: 8}
	m.arrived = sync.NewCond(&m.mu)
	n, err := swhshard.Erase(t.Context(), m, int64(len(m.device)), "test", m.want, formattest.IDs(victims))
	if n != len(victims) || err != nil {
		t.Fatalf("erased %d, %v", n, err)
	}
	if m.peak != m.want {
		t.Errorf("%d writes were in flight, want %d", m.peak, m.want)
	}
	gone(t, m.device, victims)
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
	image := newImage(t, objects)
	for write := 1; write <= 40; write += 13 {
		ctx, stop := context.WithCancel(t.Context())
		s := &stopping{device: bytes.Clone(image), left: write, stop: stop}
		_, err := swhshard.Erase(ctx, s, int64(len(image)), "test", 1, formattest.IDs(objects[10:30]))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("write %d: %v", write, err)
		}
		erase(t, s.device, formattest.IDs(objects[10:30])...)
		holds(t, s.device, append(append([][]byte{}, objects[:10]...), objects[30:]...), 20)
	}
}
