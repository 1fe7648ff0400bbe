// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic_test

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"winery/mosaic"
	"winery/test/expect"
)

const sequence = 8 // bytes that no two random texts have in common

// sequences are those in a text.
func sequences(text []byte) map[string]bool {
	all := map[string]bool{}
	for at := range len(text) - sequence + 1 {
		all[string(text[at:at+sequence])] = true
	}
	return all
}

// found returns how many places of b have one of some sequences.
func found(b []byte, sequences map[string]bool) (n int) {
	for at := range len(b) - sequence + 1 {
		if sequences[string(b[at:at+sequence])] {
			n++
		}
	}
	return n
}

func randomText(random *rand.ChaCha8, n int) []byte {
	text := make([]byte, n)
	_, _ = random.Read(text)
	return text
}

// TestEraseLeavesNothingOfOneObject: what an object has alone is nowhere in the image once
// it is erased, and never in what caches have of the image. The contents are as many as
// a dictionary is trained from, most of them of 2 kB alike and 8 kB of their own.
func TestEraseLeavesNothingOfOneObject(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	alike := randomText(random, 20_000)
	objects, own := make([][]byte, 390), make([][]byte, 390)
	for i := range objects {
		own[i] = randomText(random, 8_000)
		if i == 200 {
			own[i] = randomText(random, 64_000)
		}
		at := i % 10 * 2_000
		objects[i] = slices.Concat(own[i][:4_000], alike[at:at+2_000], own[i][4_000:])
	}
	d := newImage(t, formats["dictionary"], objects)
	if n := found(open(t, d).Dictionary(), sequences(alike)); n < 10_000 {
		t.Errorf("the dictionary has %d places of what 39 contents have in common", n)
	}
	if n := found(slices.Concat(own...), sequences(open(t, d).CacheHead())); n > 0 {
		t.Errorf("%d places of texts of single contents are in the head for caches", n)
	}
	if n := erase(t, d, objects[199:202]); n != 3 {
		t.Fatalf("erased %d", n)
	}
	if n := found(d, sequences(slices.Concat(own[199:202]...))); n > 0 {
		t.Errorf("the image has %d places of what only the erased objects had", n)
	}
}

// TestDictionaryHasWhatManyShare: a text that one content fewer has than are needed is
// not in the dictionary, even if one of them has it many times.
func TestDictionaryHasWhatManyShare(t *testing.T) {
	random := rand.NewChaCha8([32]byte{2})
	alike := randomText(random, 1_000)
	for _, test := range []struct {
		contents int
		in       bool
	}{{1, false}, {2, false}, {mosaic.SharedBy - 1, false}, {mosaic.SharedBy, true}, {50, true}} {
		text := randomText(random, 300)
		objects := make([][]byte, 100)
		for i := range objects {
			objects[i] = slices.Concat(alike, randomText(random, 500))
			switch {
			case i == 0:
				objects[i] = append(objects[i], bytes.Repeat(text, 100)...)
			case i < test.contents:
				objects[i] = slices.Concat(text, objects[i])
			}
		}
		n := found(open(t, newImage(t, formats["dictionary"], objects)).Dictionary(), sequences(text))
		if test.in && n < 250 || !test.in && n > 0 {
			t.Errorf("a text that %d contents have: %d places of the dictionary", test.contents, n)
		}
	}
}

// TestDictionaryMakesImagesSmaller: of real files, all that follow those from which it is made.
func TestDictionaryMakesImagesSmaller(t *testing.T) {
	var objects [][]byte
	seen := map[string]bool{}
	expect.NoError(t, filepath.WalkDir(filepath.Join(runtime.GOROOT(), "src"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		if size(objects) > 8<<20 {
			return fs.SkipAll
		}
		file, err := os.ReadFile(path)
		if !seen[string(file)] {
			objects = append(objects, file)
		}
		seen[string(file)] = true
		return err
	}))
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	images := map[bool]int{}
	for _, dictionary := range []bool{false, true} {
		images[dictionary] = len(newImage(t, mosaic.Format{Zstd: true, Dictionary: dictionary}, objects))
	}
	t.Logf("%d files of %d bytes: %d bytes, and %d with a dictionary", len(objects), size(objects), images[false], images[true])
	if images[true]*100 > images[false]*95 {
		t.Errorf("%d bytes, and %d with a dictionary", images[false], images[true])
	}
}
