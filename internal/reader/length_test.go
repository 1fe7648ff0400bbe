// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"winery/internal/reader"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
)

// TestImpossibleLength: a length of an image that no object can have is damage before
// memory is admitted for it, and the neighbour is read.
func TestImpossibleLength(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	damaged, neighbour := object("its length is damaged"), object(strings.Repeat("neighbour", 10<<10))
	name := f.readOnly(damaged, neighbour)
	f.stretch(name, damaged, 2<<30)
	isDamage := func(what string, err error) {
		t.Helper()
		if wrong := new(reader.CorruptError); !errors.As(err, &wrong) || wrong.ID != damaged.ID || wrong.Shard != name {
			t.Errorf("%s: %v", what, err)
		}
	}
	content, err := r.Get(t.Context(), damaged.ID, func(bytes int64) error {
		t.Errorf("%d bytes were to be admitted", bytes)
		return nil
	})
	isDamage("Get", err)
	if content != nil {
		t.Errorf("Get: %d bytes", len(content))
	}
	_, err = r.Size(t.Context(), damaged.ID)
	isDamage("Size", err)
	admitted := int64(0)
	found, err := r.GetBatch(t.Context(), []sharedbase.ObjID{damaged.ID, neighbour.ID}, func(bytes int64) error {
		admitted += bytes
		return nil
	})
	f.must(err)
	isDamage("GetBatch", found[0].Err)
	if admitted != int64(len(neighbour.Content)) || !bytes.Equal(found[1].Content, neighbour.Content) {
		t.Errorf("GetBatch: %d bytes admitted; the neighbour has %d bytes, %v", admitted, len(found[1].Content), found[1].Err)
	}
}

// TestDamagedLengthInBatch: a length that is damaged does not make a batch too large for its
// caller, whether or not a table has the object, too. The length of an intact object does.
func TestDamagedLengthInBatch(t *testing.T) {
	f := newFixture(t)
	r := f.reader(10)
	lost, kept, neighbour := object("in an image"), object("in an image and a table"), object(strings.Repeat("neighbour", 10<<10))
	name := f.readOnly(lost, neighbour)
	f.stretch(name, lost, 70<<20)
	claim := f.write(kept)
	f.pack(claim)
	f.stretch(claim.Name(), kept, 80<<20)
	var asked []int64
	refused := errors.New("too large")
	admit := func(bytes int64) error {
		if asked = append(asked, bytes); bytes >= 65<<20 {
			return refused
		}
		return nil
	}
	found, err := r.GetBatch(t.Context(), idsOf([]sharedbase.Object{lost, kept, neighbour}), admit)
	f.must(err)
	if wrong := new(reader.CorruptError); !errors.As(found[0].Err, &wrong) || wrong.ID != lost.ID || found[0].Content != nil {
		t.Errorf("the damaged object: %d bytes, %v", len(found[0].Content), found[0].Err)
	}
	for i, o := range []sharedbase.Object{kept, neighbour} {
		if got := found[1+i]; got.Err != nil || !bytes.Equal(got.Content, o.Content) {
			t.Errorf("%d bytes instead of %d, %v", len(got.Content), len(o.Content), got.Err)
		}
	}
	small := int64(len(kept.Content) + len(neighbour.Content))
	if want := []int64{150<<20 + int64(len(neighbour.Content)), 70<<20 + small, small}; !slices.Equal(asked, want) {
		t.Errorf("it asked for %d bytes, want %d", asked, want)
	}

	large := object(strings.Repeat("large", 13<<20))
	f.readOnly(large)
	asked = nil
	found, err = r.GetBatch(t.Context(), idsOf([]sharedbase.Object{large, neighbour}), admit)
	if found != nil || !errors.Is(err, refused) || len(asked) != 1 {
		t.Errorf("a large object: %d bytes were admitted, %v", asked, err)
	}
}

// stretch makes room in an image for an object of a length, which it sets, without writing
// as much.
func (f *fixture) stretch(name string, o sharedbase.Object, length int64) {
	f.Helper()
	src, err := f.pool.Open(f.Context(), name)
	f.must(err)
	image, err := io.ReadAll(io.NewSectionReader(src, 0, src.Size()))
	f.must(errors.Join(err, src.Close()))
	sound, err := shard.Open(bytes.NewReader(image), int64(len(image)), name)
	f.must(err)
	rest := sound.Layout().IndexPosition
	binary.BigEndian.PutUint64(image[bytes.Index(image, o.Content)-8:], uint64(length))
	for _, field := range []int64{56, 64, 80} { // the size of all objects; where the index and the hash function are
		binary.BigEndian.PutUint64(image[field:], binary.BigEndian.Uint64(image[field:])+uint64(length))
	}
	f.must(f.pool.Remove(f.Context(), name, pooltest.Anything{}))
	d, err := f.pool.Create(f.Context(), name, 0, pooltest.Anything{})
	f.must(err)
	_, err = d.WriteAt(image[:rest], 0)
	f.must(err)
	_, err = d.WriteAt(image[rest:], rest+length)
	f.must(errors.Join(err, d.Commit(f.Context())))
}
