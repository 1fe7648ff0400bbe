// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
)

// pageSize is that of the server.
const pageSize = 8 << 10

// Where a page of the index is damaged, objects that belong there cannot be added. Nothing is stored with them, and
// others are added under the same claim.
func TestAddBesideDamagedPage(t *testing.T) {
	server := pgtest.Start(t)
	b, conn := open(t, server.DSN), connect(t, server.DSN)
	must(b.Init(t.Context()))(t)
	c := must(b.CreateShard(t.Context(), "pool"))(t)
	many := make([]sharedbase.Object, 4000) // for some dozens of pages
	for i := range many {
		many[i] = object(fmt.Sprint("before ", i))
	}
	must(b.Add(t.Context(), c, many))(t)
	slices.SortFunc(many, func(x, y sharedbase.Object) int { return bytes.Compare(x.ID[:], y.ID[:]) })
	between := func(from, to sharedbase.Object) sharedbase.Object {
		for i := 0; ; i++ {
			o := object(fmt.Sprint("after ", i))
			if bytes.Compare(from.ID[:], o.ID[:]) < 0 && bytes.Compare(o.ID[:], to.ID[:]) < 0 {
				return o
			}
		}
	}
	bad, good := between(sharedbase.Object{}, many[20]), between(many[3000], many[3200])

	var file string
	expect.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_relation_filepath('signature2shard_pkey')").Scan(&file))
	file = filepath.Join(server.Dir, "data", file)
	for what, page := range map[string][]byte{
		"XX001": bytes.Repeat([]byte{0xff}, pageSize), // invalid page
		"XX002": make([]byte, pageSize),               // unexpected zero page
	} {
		server.Ctl("stop", "-m", "fast")
		index, err := os.OpenFile(file, os.O_WRONLY, 0)
		expect.NoError(t, err)
		_, err = index.WriteAt(page, pageSize) // the first leaf, after the meta page
		expect.NoError(t, errors.Join(err, index.Close()))
		server.Ctl("start")

		other := open(t, server.DSN)
		added, err := other.Add(t.Context(), c, []sharedbase.Object{good, bad})
		if !sharedbase.Refused(err) || code(err) != what {
			t.Fatalf("with a damaged page: %+v, %v, want %s", added, err, what)
		}
		absent(t, other, good)
		must(other.Add(t.Context(), c, []sharedbase.Object{good}))(t)
		present(t, other, c.Name(), good)
		if _, err := other.Add(t.Context(), c, []sharedbase.Object{bad}); !sharedbase.Refused(err) || code(err) != what {
			t.Errorf("alone: %v", err)
		}
		good = between(many[2000], many[2200])
	}
}
