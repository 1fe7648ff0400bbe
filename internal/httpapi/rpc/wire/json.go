// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// jsonEncoder is the Encoder of JSON.
type jsonEncoder struct {
	body  *Body
	first bool   // no comma before the next value
	ends  []byte // of the open arrays and objects
}

// value takes text over.
func (e *jsonEncoder) value(text []byte) {
	if !e.first {
		_ = e.body.WriteByte(',')
	}
	e.first = false
	e.body.refer(text)
}

func (e *jsonEncoder) begin(open, end byte) {
	e.value([]byte{open})
	e.first = true
	e.ends = append(e.ends, end)
}

func (e *jsonEncoder) Null()       { e.value([]byte("null")) }
func (e *jsonEncoder) Bool(v bool) { e.value(strconv.AppendBool(nil, v)) }
func (e *jsonEncoder) Int(v int64) { e.value(strconv.AppendInt(nil, v, 10)) }
func (e *jsonEncoder) Array(int)   { e.begin('[', ']') }
func (e *jsonEncoder) Object(int)  { e.begin('{', '}') }

func (e *jsonEncoder) Text(v string) {
	text, _ := json.Marshal(v) // a string has no value that JSON lacks
	e.value(text)
}

func (e *jsonEncoder) Key(name string) {
	e.Text(name)
	_ = e.body.WriteByte(':')
	e.first = true
}

func (e *jsonEncoder) End() {
	last := len(e.ends) - 1
	_ = e.body.WriteByte(e.ends[last])
	e.ends = e.ends[:last]
	e.first = false
}

func (e *jsonEncoder) Bytes(v []byte) {
	if v == nil {
		e.Null()
		return
	}
	const open, end = `{"swhtype":"bytes","d":"`, `"}`
	text := make([]byte, 0, len(open)+len(v)+(len(v)+3)/4+len(end))
	text = append(appendBase85(append(text, open...), v), end...)
	e.value(text)
}

// jsonDecoder is the Decoder of JSON.
type jsonDecoder struct{ dec *json.Decoder }

func newJSONDecoder(body []byte) jsonDecoder {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	return jsonDecoder{dec}
}

func (d jsonDecoder) damaged(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the message ends too early, after %d bytes", d.dec.InputOffset())
	}
	return fmt.Errorf("not JSON as expected near byte %d: %w", d.dec.InputOffset(), err)
}

// decode reads one value into v.
func (d jsonDecoder) decode(v any) error {
	if err := d.dec.Decode(v); err != nil {
		return d.damaged(err)
	}
	return nil
}

// token reads one token, and complains unless it is of type T.
func token[T json.Token](d jsonDecoder, what string) (T, error) {
	var none T
	t, err := d.dec.Token()
	if err != nil {
		return none, d.damaged(err)
	}
	v, ok := t.(T)
	if !ok {
		return none, fmt.Errorf("expected %s near byte %d", what, d.dec.InputOffset())
	}
	return v, nil
}

func (d jsonDecoder) open(delim json.Delim, what string) error {
	found, err := token[json.Delim](d, what)
	if err == nil && found != delim {
		err = fmt.Errorf("expected %s near byte %d, found %q", what, d.dec.InputOffset(), found)
	}
	return err
}

func (d jsonDecoder) Bool() (bool, error)   { return token[bool](d, "true or false") }
func (d jsonDecoder) Text() (string, error) { return token[string](d, "text") }

func (d jsonDecoder) Int() (int64, error) {
	number, err := token[json.Number](d, "an integer")
	if err != nil {
		return 0, err
	}
	return number.Int64()
}

func (d jsonDecoder) Bytes() ([]byte, error) {
	var v *struct {
		Type string `json:"swhtype"`
		Data base85 `json:"d"`
	}
	if err := d.decode(&v); err != nil {
		return nil, err
	}
	switch {
	case v == nil:
		return nil, nil
	case v.Type != "bytes" || v.Data == nil:
		return nil, fmt.Errorf(`expected bytes near byte %d, in JSON {"swhtype": "bytes", "d": BASE85}`, d.dec.InputOffset())
	}
	return v.Data, nil
}

func (d jsonDecoder) Array(item func() error) error {
	if err := d.open('[', "an array"); err != nil {
		return err
	}
	for d.dec.More() {
		if err := item(); err != nil {
			return err
		}
	}
	return d.open(']', "the end of an array")
}

func (d jsonDecoder) Object(field func(name string) error) error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	for d.dec.More() {
		name, err := d.Text()
		if err != nil {
			return err
		}
		if err := checkName(len(name)); err != nil {
			return err
		}
		if err := field(name); err != nil {
			return err
		}
	}
	return d.open('}', "the end of an object")
}

func (d jsonDecoder) Skip() error {
	var passed json.RawMessage
	return d.decode(&passed)
}

func (d jsonDecoder) end() error {
	if _, err := d.dec.Token(); err != io.EOF {
		return errTrailing
	}
	return nil
}
