// SPDX-License-Identifier: GPL-3.0-or-later

package reader_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winery/internal/reader"
	"winery/sharedbase"
	"winery/test/corrupt"
	"winery/test/expect"
	"winery/test/pgtest"
)

// TestDamagedPages: a page of a table and one of the index are damaged on PostgreSQL's
// disk. All objects but those that need these pages are read, whatever statements they
// share with others.
func TestDamagedPages(t *testing.T) {
	server := pgtest.Start(t)
	f := fixtureOn(t, server.DSN)
	random := corrupt.Random(t)
	all := objects(2000, "makes the index large")
	for range 100 {
		content := make([]byte, 9980) // five parts of a value, four of which fill a page
		for i := range content {
			content[i] = byte(random.Uint32())
		}
		all = append(all, object(string(content)))
	}
	table := "shard_" + f.write(all...).Name()
	damagePages(t, server, map[string]int64{
		"'signature2shard_pkey'": 2,
		"(SELECT reltoastrelid FROM pg_class WHERE oid = '" + table + "'::regclass)": 20,
	})
	f.base = openBase(t, server.DSN)
	r := f.reader(10)

	found, err := r.GetBatch(t.Context(), idsOf(all), admitAll)
	f.must(err)
	inIndex, inTable := 0, 0
	for i, o := range all {
		there, containsErr := r.Contains(t.Context(), o.ID)
		isThere := there && containsErr == nil
		switch got := found[i]; {
		case got.Err == nil && bytes.Equal(got.Content, o.Content) && isThere:
		case got.Content != nil || !errors.Is(got.Err, sharedbase.ErrDamaged):
			t.Errorf("object %d: %d bytes, %v", i, len(got.Content), got.Err)
		case errors.As(got.Err, new(*reader.CorruptError)) && isThere:
			inTable++
		case !there && errors.Is(containsErr, sharedbase.ErrDamaged):
			inIndex++
		default:
			t.Errorf("object %d: %v, and Contains: %v, %v", i, got.Err, there, containsErr)
		}
	}
	// A page of the index has at most 160 objects, one of the table parts of at most three.
	if inIndex == 0 || inIndex > 160 || inTable == 0 || inTable > 3 {
		t.Errorf("of %d objects, %d cannot be looked up, and %d cannot be read", len(all), inIndex, inTable)
	}
}

// damagePages overwrites one page of each relation on the disk of a server.
func damagePages(t *testing.T, s *pgtest.Server, pages map[string]int64) {
	t.Helper()
	const pageSize = 8192
	files := map[string]int64{}
	for relation, page := range pages {
		answer := filepath.Join(s.Dir, "file")
		s.Exec(fmt.Sprintf("COPY (SELECT pg_relation_filepath(%s)) TO '%s'", relation, answer))
		file, err := os.ReadFile(answer)
		expect.NoError(t, err)
		files[filepath.Join(s.Dir, "data", strings.TrimSpace(string(file)))] = page
	}
	s.Ctl("stop")
	for name, page := range files {
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		expect.NoError(t, err)
		_, err = file.WriteAt(bytes.Repeat([]byte{0xff}, pageSize), page*pageSize)
		expect.NoError(t, errors.Join(err, file.Close()))
	}
	s.Ctl("start")
}
