// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// largeSize is the size from which an object that is added alone has a statement of its
// own: pgx would make a copy of the content as an array, and the server one more.
const largeSize = 1 << 20

// addLarge is Add's statement for one object. The content goes from the caller's slice into
// the message. taken has the key if the object is new.
func (b *SharedBase) addLarge(ctx context.Context, c *Claim, key, content []byte, wait time.Duration) (held bool, taken [][]byte, err error) {
	conn, err := b.conns.adds.Acquire(ctx)
	if err != nil {
		return false, nil, err
	}
	defer conn.Release()
	sql := "/* winery: AddLarge */" + addFrom(c.name, "(SELECT $3::bytea AS key) k", "(SELECT $3::bytea AS key, $4::bytea AS content) given")
	parameters := [][]byte{
		binary.BigEndian.AppendUint64(nil, uint64(c.id)), c.locker[:], key, content,
		binary.BigEndian.AppendUint64(nil, uint64(wait.Milliseconds())),
	}
	types := []uint32{pgtype.Int8OID, pgtype.UUIDOID, pgtype.ByteaOID, pgtype.ByteaOID, pgtype.Int8OID}
	binaryFormat := []int16{pgtype.BinaryFormatCode}
	err = b.observe.send(sql, func() error {
		rows := conn.Conn().PgConn().ExecParams(ctx, sql, parameters, types, binaryFormat, binaryFormat)
		for rows.NextRow() {
			held = rows.Values()[0][0] != 0
			if array := rows.Values()[1]; binary.BigEndian.Uint32(array) > 0 { // dimensions
				taken = [][]byte{key}
			}
		}
		_, err := rows.Close()
		return err
	})
	return held, taken, err
}
