// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// packer is the Encoder of msgpack. Writing to a Body cannot fail, so errors are ignored.
type packer struct {
	body *Body
	enc  *msgpack.Encoder
}

func newPacker(body *Body) *packer {
	enc := msgpack.NewEncoder(body)
	enc.UseCompactInts(true)
	return &packer{body: body, enc: enc}
}

func (p *packer) Null()           { _ = p.enc.EncodeNil() }
func (p *packer) Bool(v bool)     { _ = p.enc.EncodeBool(v) }
func (p *packer) Int(v int64)     { _ = p.enc.EncodeInt(v) }
func (p *packer) Array(n int)     { _ = p.enc.EncodeArrayLen(n) }
func (p *packer) Object(n int)    { _ = p.enc.EncodeMapLen(n) }
func (p *packer) Key(name string) { p.Text(name) }
func (p *packer) End()            {}

// Text replaces what is not UTF-8: Python would refuse the whole message for it.
func (p *packer) Text(v string) { _ = p.enc.EncodeString(strings.ToValidUTF8(v, "\uFFFD")) }

func (p *packer) Bytes(v []byte) {
	if v == nil {
		p.Null()
		return
	}
	_ = p.enc.EncodeBytesLen(len(v))
	p.body.refer(v)
}

// unpacker is the Decoder of msgpack. The library reads codes and lengths; strings and bytes are cut out of the body.
type unpacker struct {
	body []byte
	rest *bytes.Reader
	dec  *msgpack.Decoder
}

func newUnpacker(body []byte) *unpacker {
	rest := bytes.NewReader(body)
	return &unpacker{body: body, rest: rest, dec: msgpack.NewDecoder(rest)}
}

// at is the position of the next byte.
func (u *unpacker) at() int { return len(u.body) - u.rest.Len() }

// damaged adds the position to an error of the library, or to one of a truncated
// message.
func (u *unpacker) damaged(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the message ends too early, after %d bytes", len(u.body))
	}
	return fmt.Errorf("not msgpack at byte %d: %w", u.at(), err)
}

// expect returns the code of the next value, or an error unless ok accepts it.
func (u *unpacker) expect(what string, ok func(code byte) bool) error {
	code, err := u.dec.PeekCode()
	if err != nil {
		return u.damaged(err)
	}
	if !ok(code) {
		return fmt.Errorf("expected %s at byte %d, found msgpack code 0x%02x", what, u.at(), code)
	}
	return nil
}

// cut takes n bytes out of the body.
func (u *unpacker) cut(n int, err error) ([]byte, error) {
	if err == nil && n > u.rest.Len() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, u.damaged(err)
	}
	from := u.at()
	_, err = u.rest.Seek(int64(n), io.SeekCurrent)
	return u.body[from : from+n : from+n], err
}

func (u *unpacker) Bool() (bool, error) {
	if err := u.expect("true or false", func(c byte) bool { return c == msgpcode.True || c == msgpcode.False }); err != nil {
		return false, err
	}
	return u.dec.DecodeBool()
}

func (u *unpacker) Int() (int64, error) {
	if err := u.expect("an integer", isInt); err != nil {
		return 0, err
	}
	n, err := u.dec.DecodeInt64()
	return n, u.damaged(err)
}

func (u *unpacker) Text() (string, error) {
	text, err := u.cutText()
	return string(text), err
}

func (u *unpacker) cutText() ([]byte, error) {
	if err := u.expect("text", msgpcode.IsString); err != nil {
		return nil, err
	}
	return u.cut(u.dec.DecodeBytesLen())
}

func (u *unpacker) Bytes() ([]byte, error) {
	if err := u.expect("bytes", func(c byte) bool { return msgpcode.IsBin(c) || c == msgpcode.Nil }); err != nil {
		return nil, err
	}
	if u.body[u.at()] == msgpcode.Nil {
		return nil, u.dec.DecodeNil()
	}
	return u.cut(u.dec.DecodeBytesLen())
}

func (u *unpacker) Array(item func() error) error {
	if err := u.expect("an array", isArray); err != nil {
		return err
	}
	n, err := u.dec.DecodeArrayLen()
	if err != nil {
		return u.damaged(err)
	}
	for range n {
		if err := item(); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) Object(field func(name string) error) error {
	if err := u.expect("a map", isMap); err != nil {
		return err
	}
	n, err := u.dec.DecodeMapLen()
	if err != nil {
		return u.damaged(err)
	}
	for range n {
		name, err := u.cutText()
		if err != nil {
			return err
		}
		if err := checkName(len(name)); err != nil {
			return err
		}
		if err := field(intern(name)); err != nil {
			return err
		}
	}
	return nil
}

// Skip counts the values that are still to pass, so that nesting costs no stack.
func (u *unpacker) Skip() error {
	for left := 1; left > 0; left-- {
		code, err := u.dec.PeekCode()
		if err != nil {
			return u.damaged(err)
		}
		inside, length := 0, 0
		switch {
		case isArray(code):
			inside, err = u.dec.DecodeArrayLen()
		case isMap(code):
			inside, err = u.dec.DecodeMapLen()
			inside *= 2
		case msgpcode.IsString(code) || msgpcode.IsBin(code):
			length, err = u.dec.DecodeBytesLen()
		case msgpcode.IsExt(code):
			_, length, err = u.dec.DecodeExtHeader()
		default:
			err = u.dec.Skip()
		}
		if _, err = u.cut(length, err); err != nil {
			return err
		}
		left += inside
	}
	return nil
}

func (u *unpacker) end() error {
	if u.rest.Len() > 0 {
		return errTrailing
	}
	return nil
}

func isArray(c byte) bool {
	return msgpcode.IsFixedArray(c) || c == msgpcode.Array16 || c == msgpcode.Array32
}
func isMap(c byte) bool { return msgpcode.IsFixedMap(c) || c == msgpcode.Map16 || c == msgpcode.Map32 }
func isInt(c byte) bool {
	return msgpcode.IsFixedNum(c) || c >= msgpcode.Uint8 && c <= msgpcode.Int64
}
