// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"errors"
	"slices"
	"testing"
)

// What COPY (VALUES ('k'::bytea, ”::bytea, NULL), (”, 'content', 'x')) sends,
// with an extension of the header that a reader skips.
const copied = copySignature + "\x00\x00\x00\x01\x00\x00\x00\x02ab" +
	"\x00\x03\x00\x00\x00\x01k\x00\x00\x00\x00\xff\xff\xff\xff" +
	"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x07content\x00\x00\x00\x01x" +
	"\xff\xff"

// parse returns the fields of all rows; a nil field is written <nil>.
func parse(pieces ...[]byte) (rows [][]string, err error) {
	p := &copyParser{row: func(fields [][]byte) error {
		var row []string
		for _, f := range fields {
			if f == nil {
				row = append(row, "<nil>")
			} else {
				row = append(row, string(f))
			}
		}
		rows = append(rows, row)
		return nil
	}}
	for _, piece := range pieces {
		if _, err := p.Write(piece); err != nil {
			return rows, err
		}
	}
	return rows, p.close()
}

var copiedRows = [][]string{{"k", "", "<nil>"}, {"", "content", "x"}}

func TestCopyParser(t *testing.T) {
	for at := range len(copied) {
		rows, err := parse([]byte(copied[:at]), []byte(copied[at:]))
		if err != nil || !slices.EqualFunc(rows, copiedRows, slices.Equal) {
			t.Errorf("cut at %d: %q, %v", at, rows, err)
		}
		if _, err := parse([]byte(copied[:at])); !errors.Is(err, errCopyFormat) {
			t.Errorf("ending at %d: %v", at, err)
		}
	}
	rows, err := parse(slices.Collect(slices.Chunk([]byte(copied), 1))...)
	if err != nil || !slices.EqualFunc(rows, copiedRows, slices.Equal) {
		t.Errorf("in single bytes: %q, %v", rows, err)
	}
	for name, data := range map[string]string{
		"another signature": "PGCOPX" + copied[6:],
		"critical flag":     copySignature + "\x00\x01" + copied[13:],
		"negative length":   copySignature + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe",
		"negative count":    copySignature + "\x00\x00\x00\x00\x00\x00\x00\x00\xff\xfe\xff\xff",
	} {
		if _, err := parse([]byte(data)); !errors.Is(err, errCopyFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
