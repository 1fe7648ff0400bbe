// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"
)

// byteaArrays encodes a [][]byte as a bytea[]. The codec of pgx appends one element after the other to a buffer that
// grows, which copies the contents of a large group several times.
type byteaArrays struct{ *pgtype.ArrayCodec }

// registerByteaArrays has a connection, whose types these are, use byteaArrays.
func registerByteaArrays(types *pgtype.Map) {
	bytea, _ := types.TypeForOID(pgtype.ByteaOID)
	types.RegisterType(&pgtype.Type{Name: "_bytea", OID: pgtype.ByteaArrayOID, Codec: byteaArrays{&pgtype.ArrayCodec{ElementType: bytea}}})
}

// PlanEncode implements [pgtype.Codec].
func (c byteaArrays) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.([][]byte); ok && format == pgtype.BinaryFormatCode {
		return encodeByteas{}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

type encodeByteas struct{}

// Encode implements [pgtype.EncodePlan]. The format: the number of dimensions; whether an element is NULL, which the
// server ignores; the type of the elements; their number and the index of the first; then each element, behind its
// length. All are 32 bits, big-endian (array_recv in PostgreSQL's arrayfuncs.c).
func (encodeByteas) Encode(value any, buf []byte) ([]byte, error) {
	elements := value.([][]byte)
	header := [...]uint32{1, 0, pgtype.ByteaOID, uint32(len(elements)), 1}
	size := 4 * (len(header) + len(elements))
	for _, e := range elements {
		size += len(e)
	}
	buf = slices.Grow(buf, size)
	for _, n := range header {
		buf = binary.BigEndian.AppendUint32(buf, n)
	}
	for _, e := range elements {
		length := uint32(len(e))
		if e == nil {
			length = math.MaxUint32 // NULL
		}
		buf = append(binary.BigEndian.AppendUint32(buf, length), e...)
	}
	return buf, nil
}
