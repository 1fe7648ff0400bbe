// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/expect"
)

func newWriter(t *testing.T, f mosaic.Format, dst io.WriterAt, limit int64) *mosaic.Writer {
	t.Helper()
	w, err := mosaic.NewWriter(f, dst, limit)
	expect.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func add(w *mosaic.Writer, o []byte) error {
	return w.Add(formattest.ID(o), int64(len(o)), bytes.NewReader(o))
}

func TestAddRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		id      format.ObjID
		size    int64
		content string
		want    string
	}{
		"the zero id":       {size: 1, content: "x", want: "zero id"},
		"negative sizes":    {id: formattest.ID(nil), size: -1, want: "-1 bytes"},
		"short content":     {id: formattest.ID(nil), size: 10, content: "too short", want: "unexpected EOF"},
		"long content":      {id: formattest.ID(nil), size: 3, content: "too long", want: "longer"},
		"too large objects": {id: formattest.ID(nil), size: 268_435_441, want: "largest object"},
	} {
		for method, f := range formats {
			t.Run(name+" "+method, func(t *testing.T) {
				w := newWriter(t, f, make(device, 1<<20), 1<<20)
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
}

// TestShortStream: a large content that ends early, or that cannot be read.
func TestShortStream(t *testing.T) {
	for name, f := range formats {
		w := newWriter(t, f, discard{}, 1<<30)
		err := w.Add(formattest.ID(nil), 9<<20, io.LimitReader(zeroes{}, 8<<20))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
		w = newWriter(t, f, discard{}, 1<<30)
		err = w.Add(formattest.ID(nil), 9<<20, io.MultiReader(io.LimitReader(zeroes{}, 8<<20), failing{}))
		if !errors.Is(err, errMedium) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errMedium }

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

// TestHeaderComesLast: if a writer died, its image must not open, whatever the device
// had before; and no byte but those of the header is written twice.
func TestHeaderComesLast(t *testing.T) {
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			objects := append(contents(6000), make([]byte, 2<<20))
			dst := &order{device: append(newImage(t, f, objects), make(device, 10000)...)}
			w := newWriter(t, f, dst, int64(len(dst.device)))
			notOpen := func() {
				t.Helper()
				dst.mu.Lock()
				defer dst.mu.Unlock()
				var damage *format.DamageError
				if _, err := mosaic.Open(dst.device, int64(len(dst.device)), "half"); !errors.As(err, &damage) {
					t.Fatalf("a half written image: %v", err)
				}
			}
			notOpen()
			for _, o := range objects {
				expect.NoError(t, add(w, o))
			}
			notOpen()
			_, err := w.Finish()
			expect.NoError(t, err)
			holds(t, dst.device, objects, 0)

			const block = 4 << 20
			n := len(dst.calls)
			if last := dst.calls[n-1]; last != [2]int64{0, 50} || dst.calls[n-2][0] != 50 {
				t.Fatalf("the last writes went to %d", dst.calls[n-2:])
			}
			written := make(map[int64]bool)
			for _, c := range dst.calls[1 : n-2] {
				if c[0]/block != (c[1]-1)/block || written[c[0]/block] {
					t.Fatalf("a write to %d–%d: not one a block", c[0], c[1])
				}
				written[c[0]/block] = true
			}
		})
	}
}

const memoryChild = "WINERY_MOSAIC_MEMORY_CHILD"

// TestMemory writes a million small objects and two large ones in a process of
// its own, and reads from the kernel how much memory that took.
func TestMemory(t *testing.T) {
	// Without the race detector, which takes several times the memory.
	program := filepath.Join(t.TempDir(), "mosaic.test")
	if out, err := exec.Command("go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	child := exec.Command(program)
	child.Env = append(os.Environ(), memoryChild+"=1", "GOGC=50")
	out, err := child.CombinedOutput()
	var before, peak int64
	if _, scanErr := fmt.Sscanf(string(out), "%d kB, then %d kB", &before, &peak); err != nil || scanErr != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	limit := int64(64<<20 + 80*manyObjects)
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
	w, err := mosaic.NewWriter(mosaic.Format{Zstd: true, Level: 1, Dictionary: true}, discard{}, 1<<40)
	texts, reader := make([]byte, 100*2000), new(bytes.Reader)
	_, _ = rand.Read(texts)
	for i := range uint64(manyObjects) {
		if err == nil {
			object := texts[i%100*2000:][:200]
			if i < 2000 { // as much as a dictionary is trained from
				object = object[:2000]
			}
			binary.BigEndian.PutUint64(object, i)
			reader.Reset(object)
			err = w.Add(formattest.ID(object), int64(len(object)), reader)
		}
	}
	for i := range byte(2) {
		if err == nil {
			err = w.Add(format.ObjID{i + 1}, 200<<20, io.LimitReader(rand.Reader, 200<<20))
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

var errMedium = errors.New("medium error")
