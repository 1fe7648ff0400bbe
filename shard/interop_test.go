// SPDX-License-Identifier: GPL-3.0-or-later

package shard_test

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"winery/format"
	"winery/format/formattest"
	"winery/shard/internal/cmphtest"
)

// swhShard runs testdata/interop.py.
func swhShard(t *testing.T, command, image string, numbers ...int) {
	t.Helper()
	python := os.Getenv("WINERY_PYTHON")
	if python == "" {
		t.Fatal("WINERY_PYTHON must name a Python interpreter that has swh.shard 2.2.1; `make test` makes one")
	}
	args := []string{"testdata/interop.py", command, image}
	for _, n := range numbers {
		args = append(args, strconv.Itoa(n))
	}
	out, err := exec.Command(python, args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "done\n") {
		t.Fatalf("%s %s: %v\n%s", python, strings.Join(args, " "), err, out)
	}
}

// file is an image in a file, which Erase can change.
type file struct{ *os.File }

func (f file) Flush() error { return f.Sync() }

func openFile(t *testing.T, path string) (file, int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	s, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return file{f}, s.Size()
}

// without returns the objects but those with some numbers.
func without(objects [][]byte, numbers ...int) [][]byte {
	var left [][]byte
	for i, o := range objects {
		if !slices.Contains(numbers, i) {
			left = append(left, o)
		}
	}
	return left
}

func TestPythonReadsGo(t *testing.T) {
	for _, c := range []struct {
		objects int
		spare   int64 // bytes of the device after the image
	}{{0, 0}, {0, 5 << 20}, {1, 0}, {2, 5 << 20}, {40, 0}, {1000, 5 << 20}, {100_000, 0}} {
		t.Run(fmt.Sprintf("%d objects, %d bytes spare", c.objects, c.spare), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			d := newImage(t, contents(c.objects))
			if err := os.WriteFile(path, d, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, int64(len(d))+c.spare); err != nil {
				t.Fatal(err)
			}
			swhShard(t, "read", path, c.objects)
		})
	}
	t.Log("interop: images: Go → Python Shard: 7 images of 0 to 100000 objects, up to 10 MiB each")
}

// swh.shard cannot write an image of no objects: libcmph never returns.
func TestPythonReadByUs(t *testing.T) {
	for _, n := range []int{1, 2, 40, 1000, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			swhShard(t, "write", path, n)
			d, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			holds(t, d, contents(n), 0)
			// Python makes its file a byte longer than what it says is its end.
			if used := open(t, d).Info().Size; used != int64(len(d)) {
				t.Fatalf("%d bytes in use of %d", used, len(d))
			}
		})
	}
	t.Log("interop: images: Python ShardCreator → Go: 5 images of 1 to 100000 objects, up to 10 MiB each")
}

func TestDeletedByPythonOrUs(t *testing.T) {
	const n = 30_001 // the last one is large
	objects := contents(n)
	ours, pythons := []int{0, 5, 6, 20_000}, []int{1, 7, 150, 30_000}
	for _, writer := range []string{"ours", "python's"} {
		t.Run("in "+writer, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			if writer == "ours" {
				if err := os.WriteFile(path, newImage(t, objects), 0o600); err != nil {
					t.Fatal(err)
				}
			} else {
				swhShard(t, "write", path, n)
			}
			swhShard(t, "delete", path, pythons...)
			img, size := openFile(t, path)
			var ids []format.ObjID
			for _, i := range append(pythons, ours...) {
				ids = append(ids, formattest.ID(objects[i]))
			}
			erased, err := swhshard.Erase(t.Context(), img, size, "interop", 8, ids)
			if err != nil || erased != len(ours) {
				t.Fatalf("erased %d instead of %d, %v", erased, len(ours), err)
			}
			swhShard(t, "read", path, append([]int{n}, append(pythons, ours...)...)...)
			d, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			holds(t, d, without(objects, append(pythons, ours...)...), int64(len(ours)+len(pythons)))
			t.Logf("interop: images: deleted in %s, seen by either: %d by Python, %d by us, of %d objects", writer, len(pythons), len(ours), n)
		})
	}
}

// testdata holds images that swh.shard wrote once, and what is in them.
func TestPythonsImages(t *testing.T) {
	var listing struct {
		Objects map[string]int64
		Deleted string `json:"deleted_in_second_file"`
	}
	b, err := os.ReadFile("testdata/python-40.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &listing); err != nil {
		t.Fatal(err)
	}
	for name, deleted := range map[string]string{"python-40": "", "python-40-one-deleted": listing.Deleted} {
		t.Run(name, func(t *testing.T) {
			d := gunzip(t, "testdata/"+name+".shard.gz")
			libcmphAgrees(t, d)
			r := open(t, d)
			counts, err := r.Verify(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var want format.Counts
			for id, size := range listing.Objects {
				content, err := r.Get(parseID(t, id))
				if id == deleted {
					if !errors.Is(err, format.ErrNotFound) {
						t.Fatalf("the deleted object: %d bytes, %v", len(content), err)
					}
					want.Deleted++
					continue
				}
				if err != nil || formattest.ID(content) != parseID(t, id) || int64(len(content)) != size {
					t.Fatalf("object %s: %d bytes instead of %d, %v", id, len(content), size, err)
				}
				want.Objects++
				want.Bytes += size
			}
			if counts != want {
				t.Fatalf("verified %+v instead of %+v", counts, want)
			}
		})
	}
}

// libcmphAgrees checks that libcmph, too, finds each key in its slot.
func libcmphAgrees(t *testing.T, d device) {
	t.Helper()
	info := open(t, d).Layout()
	var ids []format.ObjID
	var at []int64
	for slot := range info.IndexSlots {
		if id := format.ObjID(d[info.IndexPosition+40*slot:][:32]); id != (format.ObjID{}) {
			ids, at = append(ids, id), append(at, slot)
		}
	}
	slots, err := cmphtest.Slots(d[info.HashPosition:], ids)
	if err != nil || !slices.Equal(slots, at) {
		t.Fatalf("libcmph finds %d keys in slots %d instead of %d, %v", len(ids), slots, at, err)
	}
}

func parseID(t *testing.T, s string) format.ObjID {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q is no SHA-256", s)
	}
	return format.ObjID(b)
}

func gunzip(t *testing.T, path string) device {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
