// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// copyParser takes what a binary COPY TO sends, in pieces of any size, and
// calls row for each row. The format: a header of an 11-byte signature, 32 bits
// of flags and a 32-bit length of an extension that follows; then for each row a
// 16-bit count of fields and for each field a 32-bit length (-1: NULL) and its
// bytes; at the end a count of -1. Integers are big-endian.
// It never holds more than one row and one piece.
type copyParser struct {
	row    func(fields [][]byte) error // the fields are valid during the call
	begun  bool
	ended  bool
	behind []byte // the beginning of what is not complete yet
	fields [][]byte
}

const copySignature = "PGCOPY\n\xff\r\n\x00"

var errCopyFormat = errors.New("the server's COPY data is not in the binary format")

// Write implements io.Writer.
func (p *copyParser) Write(piece []byte) (int, error) {
	data := piece
	if len(p.behind) > 0 {
		p.behind = append(p.behind, piece...)
		data = p.behind
	}
	for !p.ended {
		used, err := p.next(data)
		if err != nil {
			return 0, err
		}
		if used == 0 {
			break
		}
		data = data[used:]
	}
	p.behind = append(p.behind[:0], data...)
	return len(piece), nil
}

// next handles the header, a row or the end, and returns its length; 0 where
// data does not have all of it.
func (p *copyParser) next(data []byte) (used int, err error) {
	if !p.begun {
		return p.header(data)
	}
	if len(data) < 2 {
		return 0, nil
	}
	count := int(int16(binary.BigEndian.Uint16(data)))
	if count < -1 {
		return 0, errCopyFormat
	}
	if count == -1 {
		p.ended = true
		return 2, nil
	}
	p.fields = p.fields[:0]
	used = 2
	for range count {
		if len(data) < used+4 {
			return 0, nil
		}
		size := int(int32(binary.BigEndian.Uint32(data[used:])))
		used += 4
		if size == -1 {
			p.fields = append(p.fields, nil)
			continue
		}
		if size < 0 {
			return 0, errCopyFormat
		}
		if len(data) < used+size {
			return 0, nil
		}
		p.fields = append(p.fields, data[used:used+size:used+size])
		used += size
	}
	return used, p.row(p.fields)
}

func (p *copyParser) header(data []byte) (used int, err error) {
	const fixed = len(copySignature) + 8
	if len(data) < fixed {
		return 0, nil
	}
	flags := binary.BigEndian.Uint32(data[len(copySignature):])
	extension := int(binary.BigEndian.Uint32(data[fixed-4:]))
	// The upper half of the flags are features that a reader must know.
	if string(data[:len(copySignature)]) != copySignature || flags>>16 != 0 {
		return 0, errCopyFormat
	}
	if len(data) < fixed+extension {
		return 0, nil
	}
	p.begun = true
	return fixed + extension, nil
}

// close says whether the end was reached.
func (p *copyParser) close() error {
	if !p.ended {
		return fmt.Errorf("%w: the data ends early", errCopyFormat)
	}
	return nil
}
