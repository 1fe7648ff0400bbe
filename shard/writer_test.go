// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/shard"
)

func newWriter(t *testing.T, dst io.WriterAt, limit int64) *shard.Writer {
	t.Helper()
	w, err := shard.NewWriter(dst, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func add(w *shard.Writer, o []byte) error {
	return w.Add(formattest.ID(o), int64(len(o)), bytes.NewReader(o))
}

func TestAddRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		id      format.ObjID
		size    int64
		content string
		want    string
	}{
		"the zero id":    {size: 1, content: "x", want: "zero id"},
		"negative sizes": {id: formattest.ID(nil), size: -1, want: "-1 bytes"},
		"short content":  {id: formattest.ID(nil), size: 10, content: "too short", want: "unexpected EOF"},
		"long content":   {id: formattest.ID(nil), size: 3, content: "too long", want: "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWriter(t, make(device, 1<<20), 1<<20)
			err := w.Add(test.id, test.size, strings.NewReader(test.content))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v", err)
			}
			if again := add(w, []byte("good")); again == nil || again.Error() != err.Error() {
				t.Fatalf("then got %v", again)
			}
			if _, again := w.Finish(); again == nil || !strings.Contains(again.Error(), err.Error()) {
				t.Fatalf("Finish returned %v", again)
			}
		})
	}
}

// order records where writes went.
type order struct {
	device
	mu    sync.Mutex
	calls [][2]int64
}

func (o *order) WriteAt(p []byte, at int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, [2]int64{at, at + int64(len(p))})
	return o.device.WriteAt(p, at)
}

// If a writer died, its image must not open, whatever the device had before.
func TestHeaderComesLast(t *testing.T) {
	objects := contents(6000)
	dst := &order{device: append(newImage(t, objects), make(device, 10000)...)}
	w := newWriter(t, dst, int64(len(dst.device)))
	notOpen := func() {
		t.Helper()
		dst.mu.Lock()
		defer dst.mu.Unlock()
		var damage *format.DamageError
		if _, err := shard.Open(dst.device, int64(len(dst.device)), "half"); !errors.As(err, &damage) {
			t.Fatalf("a half written image: %v", err)
		}
	}
	for _, o := range objects {
		if err := add(w, o); err != nil {
			t.Fatal(err)
		}
	}
	notOpen()
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	holds(t, dst.device, objects, 0)

	const block = 4 << 20
	last := dst.calls[len(dst.calls)-1]
	if last != [2]int64{0, 512} {
		t.Fatalf("the last write went to %d–%d", last[0], last[1])
	}
	written := make(map[int64]bool)
	for _, c := range dst.calls[1 : len(dst.calls)-1] {
		if c[0] < 512 || c[0]/block != (c[1]-1)/block || written[c[0]/block] {
			t.Fatalf("a write to %d–%d: not one a block", c[0], c[1])
		}
		written[c[0]/block] = true
	}
}

// slow is a device that holds writes back until as many wait as shall.
type slow struct {
	mu      sync.Mutex
	waiting int
	peak    int
	full    chan struct{}
}

func (s *slow) WriteAt(p []byte, at int64) (int, error) {
	if at == 0 {
		return len(p), nil
	}
	s.mu.Lock()
	s.waiting++
	if s.waiting > s.peak {
		if s.peak = s.waiting; s.peak == 8 {
			close(s.full)
		}
	}
	s.mu.Unlock()
	<-s.full
	s.mu.Lock()
	s.waiting--
	s.mu.Unlock()
	return len(p), nil
}

func TestEightWritesInFlight(t *testing.T) {
	dst := &slow{full: make(chan struct{})}
	w := newWriter(t, dst, 1<<30)
	if err := w.Add(formattest.ID(nil), 40<<20, io.LimitReader(rand.Reader, 40<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil { // which waits for the last of them
		t.Fatal(err)
	}
	if dst.peak != 8 {
		t.Fatalf("%d writes at once", dst.peak)
	}
}

const memoryChild = "WINERY_SHARD_MEMORY_CHILD"

// TestMemory writes a million small objects and two large ones in a process of
// its own, and reads from the kernel how much memory that took.
func TestMemory(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), memoryChild+"=1")
	out, err := child.CombinedOutput()
	var before, peak int64
	if _, scanErr := fmt.Sscanf(string(out), "%d kB, then %d kB", &before, &peak); err != nil || scanErr != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	limit := int64(64<<20 + 100*manyObjects)
	t.Logf("%d bytes an object, %d MiB in all", (peak-before)<<10/manyObjects, (peak-before)>>10)
	if got := (peak - before) << 10; got > limit {
		t.Fatalf("%d MiB instead of at most %d for %d objects", got>>20, limit>>20, manyObjects)
	}
}

const manyObjects = 1_000_000

type discard struct{}

func (discard) WriteAt(p []byte, at int64) (int, error) { return len(p), nil }

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func writeManyObjects() int {
	before := memory("VmRSS")
	w, err := shard.NewWriter(discard{}, 1<<40)
	object, reader := make([]byte, 200), new(bytes.Reader)
	for i := range uint64(manyObjects) {
		if err == nil {
			binary.BigEndian.PutUint64(object, i)
			reader.Reset(object)
			err = w.Add(formattest.ID(object), int64(len(object)), reader)
		}
	}
	for i := range byte(2) {
		if err == nil {
			err = w.Add(format.ObjID{i + 1}, 300<<20, io.LimitReader(zeroes{}, 300<<20))
		}
	}
	if err == nil {
		_, err = w.Finish()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Printf("%d kB, then %d kB\n", before, memory("VmHWM"))
	return 0
}

// memory reads a line in kB of this process' status.
func memory(line string) (kb int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(string(status), line+":")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		panic(err)
	}
	return kb
}
