// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"winery/sharedbase"
)

// A row that is not an object ends the stream with an error that names shard and
// key, whatever rows are before or after it.
func TestStreamOfDamagedRows(t *testing.T) {
	b, conn := newBase(t)
	s := shardIn(t, b, sharedbase.StateFull, noise(10), noise(20), noise(5<<20))
	c := claim(t, b, s, sharedbase.StatePacking)
	for _, o := range []sharedbase.Object{noise(10), noise(20), noise(5 << 20)} {
		for _, set := range []string{"key = ''", "key = substring(key FOR 31)", `key = key || '\x00'`, "content = NULL"} {
			exec(t, conn, fmt.Sprintf(`CREATE TABLE kept AS TABLE shard_%[1]s; UPDATE shard_%[1]s SET %[2]s WHERE key = '\x%[3]x'`, s.Name, set, o.ID))
			objects, err := b.StreamTable(t.Context(), c, func(id sharedbase.ObjID, size int64, content io.Reader) error {
				all, err := io.ReadAll(content)
				if id == o.ID || err != nil || int64(len(all)) != size || !bytes.Equal(all, noise(int(size)).Content) {
					t.Errorf("%s: object %x came, of %d bytes, %v", set, id, len(all), err)
				}
				return nil
			})
			named := set == "key = ''" || err != nil && strings.Contains(err.Error(), fmt.Sprintf("%x", o.ID[:31]))
			if !named || err == nil || !strings.Contains(err.Error(), s.Name) || errors.Is(err, sharedbase.ErrUnavailable) {
				t.Errorf("%s: %d objects, %v", set, objects, err)
			}
			exec(t, conn, fmt.Sprintf(`TRUNCATE shard_%[1]s; INSERT INTO shard_%[1]s TABLE kept; DROP TABLE kept`, s.Name))
		}
	}
}

// A content that is NULL is no empty object, and an id that is no SHA-256 is
// not passed over.
func TestDamagedIndexAndContent(t *testing.T) {
	b, conn := newBase(t)
	all := objects("a", "b")
	s := shardIn(t, b, sharedbase.StateFull, all...)
	exec(t, conn, "UPDATE shard_"+s.Name+" SET content = NULL WHERE key = $1", all[0].ID[:])
	for _, atMost := range []int64{-1, 0, 1 << 20} {
		got, err := b.Content(t.Context(), s.Name, ids(all...), atMost)
		if err != nil || got[0].Size != -1 || got[0].Bytes != nil || got[1].Size != 1 {
			t.Errorf("up to %d bytes: %+v, %v", atMost, got, err)
		}
	}
	exec(t, conn, "UPDATE signature2shard SET signature = substring(signature FOR 31) WHERE signature = $1", all[0].ID[:])
	if listed, err := b.ListObjects(t.Context(), sharedbase.ObjID{}, 10); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%x", all[0].ID[:31])) {
		t.Errorf("listed %x, %v", listed, err)
	}
	absent(t, b, all[0])
	present(t, b, s.Name, all[1])

	// PostgreSQL itself sees to it that the index leads to a shard.
	var refused *pgconn.PgError
	_, err := conn.Exec(t.Context(), "UPDATE signature2shard SET shard = 999")
	if !errors.As(err, &refused) || refused.ConstraintName != "signature2shard_shard_fkey" {
		t.Errorf("an index that leads nowhere: %v", err)
	}
	_, err = conn.Exec(t.Context(), "DELETE FROM shards")
	if !errors.As(err, &refused) {
		t.Errorf("a shard that goes and leaves its objects: %v", err)
	}
}
