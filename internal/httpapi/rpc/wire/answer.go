// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import "errors"

// Answer writes what an endpoint answers.
type Answer func(Encoder)

// Null answers nothing.
func Null(e Encoder) { e.Null() }

// Bool answers yes or no.
func Bool(v bool) Answer { return func(e Encoder) { e.Bool(v) } }

// Content answers one object's bytes, which must not be nil.
func Content(content []byte) Answer { return func(e Encoder) { e.Bytes(content) } }

// Contents answers a list of objects' bytes, with null where they are nil.
func Contents(contents [][]byte) Answer {
	return func(e Encoder) { encodeList(e, contents, Encoder.Bytes) }
}

// Summary counts what a batch added that was not there before.
type Summary struct {
	Objects int
	Bytes   int64
}

const (
	summaryObjects = "object:add"
	summaryBytes   = "object:add:bytes"
)

// Answer answers the summary.
func (s Summary) Answer(e Encoder) {
	e.Object(2)
	e.Key(summaryObjects)
	e.Int(int64(s.Objects))
	e.Key(summaryBytes)
	e.Int(s.Bytes)
	e.End()
}

// ReadNull passes over the answer that says nothing.
func ReadNull(d Decoder) (struct{}, error) { return struct{}{}, d.Skip() }

// ReadContent reads one object's bytes.
func ReadContent(d Decoder) ([]byte, error) {
	content, err := d.Bytes()
	if err == nil && content == nil {
		err = errors.New("expected bytes, found null")
	}
	return content, err
}

// ReadContents reads a list of objects' bytes, nil where the list has null.
func ReadContents(d Decoder) ([][]byte, error) { return list(d, Decoder.Bytes) }

// ReadSummary reads a summary.
func ReadSummary(d Decoder) (s Summary, err error) {
	err = d.Object(func(name string) error {
		n, err := d.Int()
		switch name {
		case summaryObjects:
			s.Objects = int(n)
		case summaryBytes:
			s.Bytes = n
		}
		return err
	})
	return s, err
}
