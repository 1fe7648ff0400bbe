// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"winery/internal/reader"
	"winery/pool/pooltest"
	"winery/shard"
	"winery/sharedbase"
	"winery/test/corrupt"
	"winery/test/pgtest"
)

// growing are 40 objects of a kind, of up to 2 kB; the first is small.
func growing(kind string) []sharedbase.Object {
	all := make([]sharedbase.Object, 40)
	for i := range all {
		all[i] = object(kind + strings.Repeat(fmt.Sprintf(" object %d", i), 4*i))
	}
	return all
}

// readDamaged gets each object, all at once: it comes with the right bytes, or with
// an error that names it and its shard. It returns those that did not come.
func (f *fixture) readDamaged(r *reader.Reader, name string, all []sharedbase.Object) (lost map[int]bool) {
	f.Helper()
	var mu sync.Mutex
	var readers sync.WaitGroup
	lost = map[int]bool{}
	for i, o := range all {
		readers.Go(func() {
			content, err := r.Get(f.Context(), o.ID, nil)
			if err == nil && bytes.Equal(content, o.Content) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			lost[i] = true
			var wrong *reader.CorruptError
			if content != nil || !errors.As(err, &wrong) || wrong.ID != o.ID || wrong.Shard != name ||
				errors.Is(err, reader.ErrNotFound) {
				f.Errorf("object %d: %d bytes instead of %d, %v", i, len(content), len(o.Content), err)
			}
		})
	}
	readers.Wait()
	return lost
}

// Whatever the damage of an image, a reader never returns wrong bytes.
func TestMutatedImages(t *testing.T) {
	random := corrupt.Random(t)
	f := newFixture(t)
	all := append(growing("in an image"), object(""))
	name := f.readOnly(all...)
	e, err := f.pool.Edit(t.Context(), name, pooltest.Anything{})
	f.must(err)
	defer func() { f.must(e.Close()) }()
	image, err := io.ReadAll(io.NewSectionReader(e, 0, e.Size()))
	f.must(err)
	sound, err := shard.Open(bytes.NewReader(image), int64(len(image)), name)
	f.must(err)
	info := sound.Layout()
	parts := [][2]int64{{0, 88}, {512, info.IndexPosition}, {info.IndexPosition, info.HashPosition}, {info.HashPosition, info.Size}}
	lost := 0
	for i := range 240 {
		part := parts[i%len(parts)]
		changed, what := mutateRange(random, image, part[0], part[1])
		_, err := e.WriteAt(changed, 0)
		f.must(err)
		r := reader.NewReader(f.options(1))
		lost += len(f.readDamaged(r, name, all))
		r.Close()
		if t.Failed() {
			t.Fatalf("with %s, in the part from %d to %d", what, part[0], part[1])
		}
	}
	if lost == 0 {
		t.Error("nothing was damaged")
	}
	_, err = e.WriteAt(image, 0)
	f.must(err)
	if lost := f.readDamaged(f.reader(1), name, all); len(lost) > 0 {
		t.Errorf("undamaged, and yet lost: %v", lost)
	}
}

// mutateRange changes bytes from one offset to another, as disks do: a bit, a run of
// zeros, or a run that belongs elsewhere.
func mutateRange(random *rand.Rand, image []byte, from, to int64) (changed []byte, what string) {
	changed = bytes.Clone(image)
	at := from + random.Int64N(to-from)
	run := changed[at:min(at+1+random.Int64N(100), to)]
	switch random.IntN(4) {
	case 0:
		clear(run)
		return changed, fmt.Sprintf("%d zeros at %d", len(run), at)
	case 1:
		source := random.IntN(len(image) - len(run))
		copy(run, image[source:])
		return changed, fmt.Sprintf("%d bytes of %d at %d", len(run), source, at)
	}
	run[0] ^= 1 << random.IntN(8)
	return changed, fmt.Sprintf("a bit flipped at %d", at)
}

// rowDamage are statements about the table %[1]s and the key %[2]s, and in the last
// case another's, %[3]s.
var rowDamage = map[string]string{
	"a bit flipped":      `UPDATE %[1]s SET content = set_bit(content, 3, 1 - get_bit(content, 3)) WHERE key = %[2]s`,
	"the last byte gone": `UPDATE %[1]s SET content = substring(content FOR octet_length(content) - 1) WHERE key = %[2]s`,
	"nothing left":       `UPDATE %[1]s SET content = '' WHERE key = %[2]s`,
	"a byte more":        `UPDATE %[1]s SET content = content || '\x00' WHERE key = %[2]s`,
	"NULL":               `UPDATE %[1]s SET content = NULL WHERE key = %[2]s`,
	"no row":             `DELETE FROM %[1]s WHERE key = %[2]s`,
	"a key too short":    `UPDATE %[1]s SET key = substring(key FOR 31) WHERE key = %[2]s`,
	"a key too long":     `UPDATE %[1]s SET key = key || '\x00' WHERE key = %[2]s`,
	"a bit of the key":   `UPDATE %[1]s SET key = set_bit(key, 3, 1 - get_bit(key, 3)) WHERE key = %[2]s`,
	"another's content":  `UPDATE %[1]s SET content = (SELECT content FROM %[1]s WHERE key = %[3]s) WHERE key = %[2]s`,
	"swapped with another": `UPDATE %[1]s a SET content = b.content FROM %[1]s b
		WHERE a.key IN (%[2]s, %[3]s) AND b.key IN (%[2]s, %[3]s) AND a.key <> b.key`,
}

func sqlKey(o sharedbase.Object) string { return fmt.Sprintf(`'\x%x'`, o.ID) }

// Whatever the damage of a table's rows, the objects of other rows are read as
// before, and a damaged row is an error.
func TestMutatedRows(t *testing.T) {
	f := newFixture(t)
	r := f.reader(1)
	for what, statement := range rowDamage {
		all := growing(what)
		name := f.write(all...).Name()
		pgtest.Exec(t, f.dsn, fmt.Sprintf(statement, "shard_"+name, sqlKey(all[20]), sqlKey(all[21])))
		lost := f.readDamaged(r, name, all)
		if want := strings.HasPrefix(what, "swapped"); !lost[20] || lost[21] != want || len(lost) > 2 {
			t.Errorf("%s: lost are %v", what, lost)
		}
	}
}

// An index that leads to another shard leads to an error.
func TestMutatedIndex(t *testing.T) {
	f := newFixture(t)
	inTable, inImage := growing("in a table"), growing("in an image")
	table, image := f.write(inTable...).Name(), f.readOnly(inImage...)
	r := f.reader(1)
	point := func(o sharedbase.Object, to string) {
		pgtest.Exec(t, f.dsn, fmt.Sprintf(`UPDATE signature2shard SET shard = (%s) WHERE signature = %s`, to, sqlKey(o)))
	}
	point(inTable[0], "SELECT id FROM shards WHERE name = '"+image+"'")
	point(inImage[0], "SELECT id FROM shards WHERE name = '"+table+"'")
	if len(f.readDamaged(r, image, inTable[:1])) != 1 || len(f.readDamaged(r, table, inImage[:1])) != 1 {
		t.Error("an object came from a shard that does not have it")
	}
	if len(f.readDamaged(r, table, inTable[1:]))+len(f.readDamaged(r, image, inImage[1:])) > 0 {
		t.Error("others suffered")
	}
}
