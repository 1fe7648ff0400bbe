// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"winery/test/expect"
)

func TestByteaArrays(t *testing.T) {
	types, pgx := pgtype.NewMap(), pgtype.NewMap()
	registerByteaArrays(types)
	for name, value := range map[string][][]byte{
		"none": {}, "one": {[]byte("content")}, "several": {[]byte("a"), {}, bytes.Repeat([]byte("large"), 1<<20), []byte("z")},
	} {
		want, err := pgx.Encode(pgtype.ByteaArrayOID, pgtype.BinaryFormatCode, value, []byte("before"))
		expect.NoError(t, err)
		got, err := types.Encode(pgtype.ByteaArrayOID, pgtype.BinaryFormatCode, value, []byte("before"))
		expect.NoError(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %x..., want %d, %x...", name, len(got), got[:min(len(got), 40)], len(want), want[:min(len(want), 40)])
		}
		if room := cap(got) - len(got); room > len(got)/4+64 {
			t.Errorf("%s: %d bytes of buffer for %d", name, cap(got), len(got))
		}
	}
	var back [][]byte
	encoded, err := types.Encode(pgtype.ByteaArrayOID, pgtype.BinaryFormatCode, [][]byte{nil, {}}, nil)
	expect.NoError(t, err)
	expect.NoError(t, pgx.Scan(pgtype.ByteaArrayOID, pgtype.BinaryFormatCode, encoded, &back))
	if len(back) != 2 || back[0] != nil || back[1] == nil {
		t.Errorf("NULL and an empty element became %v", back)
	}
}
