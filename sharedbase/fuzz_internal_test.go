// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// cut divides data into pieces of the sizes that the bytes of cuts are, again
// and again; empty ones, too.
func cut(data, cuts []byte) (pieces [][]byte) {
	if bytes.Count(cuts, []byte{0}) == len(cuts) {
		return [][]byte{data}
	}
	for i := 0; len(data) > 0; i++ {
		n := min(int(cuts[i%len(cuts)]), len(data))
		pieces = append(pieces, data[:n])
		data = data[n:]
	}
	return pieces
}

// However the data is cut, the rows are the same, and so is the error.
func FuzzCopyParser(f *testing.F) {
	f.Add([]byte(copied), []byte{3})
	f.Add([]byte(copied), []byte{19, 0, 1, 2})
	f.Add([]byte(copied[:40]), []byte{1})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		whole, errWhole := parse(bytes.Clone(data))
		pieces, errPieces := parse(cut(bytes.Clone(data), cuts)...)
		if !slices.EqualFunc(whole, pieces, slices.Equal) || (errWhole == nil) != (errPieces == nil) ||
			errWhole != nil && errWhole.Error() != errPieces.Error() {
			t.Fatalf("%q, %v in one piece, but %q, %v in pieces of %d", whole, errWhole, pieces, errPieces, cuts)
		}
	})
}

// All rows arrive unchanged, however the data is split; data without its end is
// never taken for complete.
func FuzzCopyRows(f *testing.F) {
	f.Add([]byte("\x01\x03abc\x00\x01\xff\x00"), uint8(3), []byte{5})
	f.Add([]byte("\x02xy\xff\xff\x01a\x00\x00"), uint8(2), []byte{1, 0, 9})
	f.Fuzz(func(t *testing.T, data []byte, columns uint8, cuts []byte) {
		n := 1 + int(columns%8)
		rows, sent := copyOf(data, n)
		got, err := parse(cut(sent, cuts)...)
		if err != nil || !slices.EqualFunc(got, rows, slices.Equal) {
			t.Fatalf("%q was sent, %q came, %v", rows, got, err)
		}
		short := len(sent) - 1 - int(columns)%2
		if got, err := parse(cut(sent[:short], cuts)...); err == nil {
			t.Fatalf("%d of %d bytes were taken for all, %q", short, len(sent), got)
		}
	})
}

// copyOf makes rows of data, and what COPY would send for them. Each field is a
// byte of length, 255 for NULL, and that many bytes.
func copyOf(data []byte, columns int) (rows [][]string, sent []byte) {
	sent = append([]byte(copySignature), make([]byte, 8)...)
	for len(data) > 0 {
		row := make([]string, columns)
		sent = binary.BigEndian.AppendUint16(sent, uint16(columns))
		for i := range row {
			size := 0
			if len(data) > 0 {
				size, data = int(data[0]), data[1:]
			}
			if size == 255 {
				row[i] = "<nil>"
				sent = binary.BigEndian.AppendUint32(sent, 1<<32-1)
				continue
			}
			size = min(size, len(data))
			row[i] = string(data[:size])
			sent = binary.BigEndian.AppendUint32(sent, uint32(size))
			sent = append(sent, data[:size]...)
			data = data[size:]
		}
		rows = append(rows, row)
	}
	return rows, append(sent, 0xff, 0xff)
}
