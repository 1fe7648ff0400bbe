// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/mosaic"
	"winery/test/expect"
)

// swhMosaic runs testdata/interop.py.
func swhMosaic(t *testing.T, command, image string, args ...string) {
	t.Helper()
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		t.Fatal("WINERY_PYTHON must name a Python interpreter that has swh.mosaic 0.6.1; `make test` makes one")
	}
	args = append([]string{"testdata/interop.py", command, image}, args...)
	out, err := exec.Command(python, args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "done\n") {
		t.Fatalf("%s %s: %v\n%s", python, strings.Join(args, " "), err, out)
	}
}

func texts(numbers ...int) (texts []string) {
	for _, n := range numbers {
		texts = append(texts, strconv.Itoa(n))
	}
	return texts
}

// noise has the sizes of the test objects that do not compress: among them are those of
// which EBML writes the last in so many bytes, stored as they are, or in frames.
func noise() map[int]int {
	sizes := map[int]int{50: 127, 51: 16383, 52: 2097151, 30_000: 3_200_000}
	for i := range 40 {
		sizes[60+i] = 105 + i
	}
	for i := range 30 {
		sizes[170+i] = 16353 + i
	}
	return sizes
}

// interopContents are the test objects of testdata/interop.py: those of contents, but for
// noise, and for one that compresses as well as any.
func interopContents(n int) [][]byte {
	objects := contents(n)
	if n > 45 {
		objects[45] = bytes.Repeat([]byte("x"), 1_000_000)
	}
	for i, size := range noise() {
		if i >= n {
			continue
		}
		objects[i] = nil
		seed := sha256.Sum256(fmt.Appendf(nil, "object %d", i))
		for k := 0; len(objects[i]) < size; k++ {
			sum := sha256.Sum256(fmt.Appendf(seed[:], "%d", k))
			objects[i] = append(objects[i], sum[:]...)
		}
		objects[i] = objects[i][:size]
	}
	return objects
}

// file is an image in a file, which Erase can change.
type file struct{ *os.File }

func (f file) Flush() error { return f.Sync() }

func openFile(t *testing.T, path string) (file, int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	expect.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	s, err := f.Stat()
	expect.NoError(t, err)
	return file{f}, s.Size()
}

func TestPythonReadsGo(t *testing.T) {
	for name, f := range formats {
		for _, n := range []int{0, 1, 2, 40, 1000, 30_001} {
			t.Run(fmt.Sprintf("%s, %d objects", name, n), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "image")
				expect.NoError(t, os.WriteFile(path, newImage(t, f, interopContents(n)), 0o600))
				swhMosaic(t, "read", path, texts(n)...)
			})
		}
	}
	t.Log("interop: mosaic images: Go → Python MosaicReader: 18 images of 0 to 30001 objects, of 3 methods")
}

func TestGoReadsPython(t *testing.T) {
	for _, method := range []string{"none", "0", "1", "19", "22", "3dict"} {
		for _, n := range []int{0, 1, 40, 3000} {
			t.Run(fmt.Sprintf("%s, %d objects", method, n), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "image")
				swhMosaic(t, "write", path, method, strconv.Itoa(n))
				d, err := os.ReadFile(path)
				expect.NoError(t, err)
				holds(t, d, interopContents(n), 0)
				if used := open(t, d).Info().Size; used != int64(len(d)) {
					t.Fatalf("%d bytes in use of %d", used, len(d))
				}
			})
		}
	}
	t.Log("interop: mosaic images: Python MosaicCreator → Go: 24 images of 0 to 3000 objects, of 6 methods")
}

// TestInterruptedPython: what a Python packer leaves that ended in the middle is
// unfinished, wherever it stopped; a whole image is not, whatever bit flips.
func TestInterruptedPython(t *testing.T) {
	unfinished := func(t *testing.T, d formattest.Device) bool {
		t.Helper()
		is, err := mosaic.Format{}.Unfinished(d, int64(len(d)), "test")
		expect.NoError(t, err)
		if _, err := mosaic.Open(d, int64(len(d)), "test"); is && err == nil {
			t.Error("it is unfinished, and opens")
		}
		return is
	}
	for _, method := range []string{"none", "3"} {
		for _, n := range []int{0, 40, 30_001} { // the last ends within a tile that is written
			t.Run(fmt.Sprintf("%s, %d objects", method, n), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "image")
				swhMosaic(t, "interrupt", path, method, strconv.Itoa(n))
				d, err := os.ReadFile(path)
				expect.NoError(t, err)
				const mosaicSize = 42 // where close writes first
				for _, size := range []byte{0, 1} {
					d[mosaicSize+7] = size
					if !unfinished(t, d) {
						t.Errorf("%d bytes are not unfinished", len(d))
					}
				}
			})
		}
	}
	path := filepath.Join(t.TempDir(), "image")
	swhMosaic(t, "write", path, "3", "40")
	d, err := os.ReadFile(path)
	expect.NoError(t, err)
	for bit := range 101 * 8 {
		d[bit/8] ^= 1 << (bit % 8)
		if unfinished(t, d) {
			t.Errorf("unfinished with bit %d flipped", bit)
		}
		d[bit/8] ^= 1 << (bit % 8)
	}
}

// TestSameBytesAsPython: without compression, an image is byte for byte what swh.mosaic makes
// of the same objects, but for the comment.
func TestSameBytesAsPython(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	swhMosaic(t, "write", path, "none", "3000")
	pythons, err := os.ReadFile(path)
	expect.NoError(t, err)
	d := newImage(t, mosaic.Format{}, interopContents(3000))
	_, tiles, index, _, tail := open(t, d).Parts()
	_, pythonTiles, pythonIndex, _, pythonTail := open(t, pythons).Parts()
	if !slices.Equal(d[tiles:index], pythons[pythonTiles:pythonIndex]) {
		t.Error("the tiles differ")
	}
	if !slices.Equal(d[tail:], pythons[pythonTail:]) {
		t.Error("the perfect hashes differ")
	}
}

func TestDeletedByPythonOrGo(t *testing.T) {
	const n = 30_001 // the last one is large
	objects := interopContents(n)
	goes, pythons := []int{0, 5, 6, 20_000}, []int{1, 7, 150, 30_000}
	for _, writer := range []string{"Go's", "Python's"} {
		t.Run("in "+writer, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			if writer == "Go's" {
				expect.NoError(t, os.WriteFile(path, newImage(t, mosaic.Format{Zstd: true, Dictionary: true}, objects), 0o600))
			} else {
				swhMosaic(t, "write", path, "3", strconv.Itoa(n))
			}
			swhMosaic(t, "delete", path, texts(pythons...)...)
			img, size := openFile(t, path)
			var ids []format.ObjID
			for _, i := range append(pythons, goes...) {
				ids = append(ids, formattest.ID(objects[i]))
			}
			erased, err := mosaic.Format{}.Erase(t.Context(), img, size, "interop", 8, ids)
			if err != nil || erased != len(goes) {
				t.Fatalf("erased %d instead of %d, %v", erased, len(goes), err)
			}
			swhMosaic(t, "read", path, texts(append([]int{n}, append(pythons, goes...)...)...)...)
			swhMosaic(t, "delete", path, texts(9, 10)...)
			d, err := os.ReadFile(path)
			expect.NoError(t, err)
			holds(t, d, without(objects, append([]int{9, 10}, append(pythons, goes...)...)...), int64(len(goes)+len(pythons)+2))
			t.Logf("interop: mosaic images: deleted in %s, seen by either: %d by Python, %d by Go, of %d objects", writer, len(pythons)+2, len(goes), n)
		})
	}
}
