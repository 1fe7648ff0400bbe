// SPDX-License-Identifier: GPL-3.0-or-later

package packer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"winery/pool"
	"winery/sharedbase"
	"winery/test/expect"
	"winery/test/pgtest"
	"winery/test/roletest"
)

// TestMutatedRows damages a row of a full shard's table: the shard is not packed,
// the error tells which object it is, and nothing is left that looks like an image. It is packed once
// the row is as it was.
func TestMutatedRows(t *testing.T) {
	s := roletest.New(t, roletest.Directory(t, ""))
	for seed, damage := range []struct{ what, set, where string }{
		{"a bit flipped", `content = set_bit(content, 3, 1 - get_bit(content, 3))`, `key = %s`},
		{"the last byte gone", `content = substring(content FOR octet_length(content) - 1)`, `key = %s`},
		{"nothing left", `content = ''`, `key = %s`},
		{"a byte more", `content = content || '\x00'`, `key = %s`},
		{"NULL", `content = NULL`, `key = %s`},
		{"a key too short", `key = substring(key FOR 31)`, `key = %s`},
		{"a key too long", `key = key || '\x00'`, `key = %s`},
		{"a bit of the last byte of a key", `key = set_bit(key, 255, 1 - get_bit(key, 255))`, `key = %s`},
		{"the same content everywhere", `content = 'other'`, `%s IS NOT NULL`},
	} {
		objects := roletest.Objects(uint64(seed), 40, 3000)[1:]
		name := s.Full(t, objects)
		key := fmt.Sprintf("%x", objects[20].ID)
		exec := func(format string, args ...any) { pgtest.Exec(t, s.DSN, fmt.Sprintf(format, args...)) }
		exec("CREATE TABLE kept AS TABLE shard_%s", name)
		exec("UPDATE shard_%s SET %s WHERE "+damage.where, name, damage.set, `'\x`+key+"'")

		worked, err := step(s)(t.Context())
		if worked || err == nil || !strings.Contains(err.Error(), name) ||
			!strings.Contains(err.Error(), key[:62]) && damage.where == "key = %s" {
			t.Fatalf("%s of %s: %v, %v", damage.what, key, worked, err)
		}
		s.WantState(t, name, sharedbase.StateFull)
		if _, found, err := s.Base.ImageRecord(t.Context(), s.Shard(t, name).ID); found || err != nil {
			t.Fatalf("%s: an image was recorded, %v", damage.what, err)
		}
		if _, err := s.Pool.Pool.Open(t.Context(), name); !errors.Is(err, pool.ErrNotFound) {
			t.Fatalf("%s: an image is left: %v", damage.what, err)
		}

		exec("TRUNCATE shard_%[1]s; INSERT INTO shard_%[1]s TABLE kept; DROP TABLE kept", name)
		expect.NoError(t, s.Base.Unquarantine(t.Context(), name))
		packs(t, s)
		s.WantState(t, name, sharedbase.StatePacked)
		s.WantObjects(t, name, objects)
	}
}
