// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import (
	"errors"
	"fmt"
	"mime"
)

// Format is one of the encodings.
type Format int

// The encodings. JSON is the default where a client does not choose.
const (
	JSON Format = iota
	MsgPack
)

// ContentType is the format's media type.
func (f Format) ContentType() string {
	if f == MsgPack {
		return "application/x-msgpack"
	}
	return "application/json"
}

// FormatOf is the format that a Content-Type header names.
func FormatOf(contentType string) (Format, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	for _, f := range []Format{JSON, MsgPack} {
		if err == nil && mediaType == f.ContentType() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("content type %q is not known: send %s or %s", contentType, MsgPack.ContentType(), JSON.ContentType())
}

// Encoder writes one message. Object, Array and their End nest; n is their number of fields or items, and in an object
// each value follows its Key.
type Encoder interface {
	Null()
	Bool(bool)
	Int(int64)
	Text(string)
	Bytes([]byte) // nil is written as null
	Array(n int)
	Object(n int)
	Key(string)
	End()
}

// Encode runs write with an encoder of the format, and returns what it wrote.
func (f Format) Encode(write func(Encoder)) *Body {
	body := &Body{}
	if f == MsgPack {
		write(newPacker(body))
	} else {
		write(&jsonEncoder{body: body, first: true})
	}
	return body
}

// Decoder reads one message. A value of an unexpected type is an error that names the position.
type Decoder interface {
	Bool() (bool, error)
	Int() (int64, error)
	Text() (string, error)
	Bytes() ([]byte, error)                     // nil for null
	Array(item func() error) error              // calls item for each; it must read one value
	Object(field func(name string) error) error // calls field for each; it must read one value
	Skip() error                                // skips one value of any type
	end() error                                 // an error unless all is read
}

// maxName is the length in bytes of the longest name in an object. Errors quote names.
const maxName = 128

func checkName(length int) error {
	if length > maxName {
		return fmt.Errorf("a name has %d bytes: send at most %d", length, maxName)
	}
	return nil
}

var errTrailing = errors.New("there are bytes after the end of the message")

// Decode reads one message, which read must consume whole. Bytes that msgpack yields are slices of body.
func Decode[T any](f Format, body []byte, read func(Decoder) (T, error)) (T, error) {
	var d Decoder
	if f == MsgPack {
		d = newUnpacker(body)
	} else {
		d = newJSONDecoder(body)
	}
	v, err := read(d)
	if err == nil {
		err = d.end()
	}
	return v, err
}
