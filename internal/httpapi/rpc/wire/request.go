// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import (
	"errors"
	"fmt"
)

// MaxBatch is the largest number of objects in one batch.
const MaxBatch = 100_000

// The names of arguments.
const (
	argContent       = "content"
	argContents      = "contents"
	argObjID         = "obj_id"
	argObjIDs        = "obj_ids"
	argCheckPresence = "check_presence"
	argCheckWrite    = "check_write"
)

// known has the names that requests and object ids are made of, so that decoding one allocates no string.
var known = func() map[string]string {
	names := map[string]string{}
	for _, name := range []string{
		argContent, argContents, argObjID, argObjIDs, argCheckPresence, argCheckWrite,
		sha256Name, "sha1", "sha1_git", "blake2s256",
	} {
		names[name] = name
	}
	return names
}()

func intern(name []byte) string {
	if s, ok := known[string(name)]; ok {
		return s
	}
	return string(name)
}

// Object is an object's key and content.
type Object struct {
	ID      [32]byte
	Content []byte
}

// Request has the arguments of a request, nil where one was not given.
type Request struct {
	ObjID         ObjID
	Content       []byte
	Contents      []Object
	ObjIDs        [][32]byte
	CheckPresence bool // true where not given; a server of Go Winery always checks
	CheckWrite    bool
}

// ReadRequest reads the arguments, the contents being slices of the body where the format allows. An error says what
// is wrong with the body; it is ErrNoSHA256 if an object of a batch has no SHA-256.
func ReadRequest(d Decoder) (Request, error) {
	r := Request{CheckPresence: true}
	err := d.Object(func(name string) error {
		if err := r.readArgument(d, name); err != nil {
			return fmt.Errorf("argument %s: %w", name, err)
		}
		return nil
	})
	return r, err
}

func (r *Request) readArgument(d Decoder, name string) (err error) {
	switch name {
	case argObjID:
		r.ObjID, err = readID(d)
	case argContent:
		r.Content, err = d.Bytes()
	case argContents:
		r.Contents, err = list(d, readObject)
	case argObjIDs:
		r.ObjIDs, err = list(d, readKey)
	case argCheckPresence:
		r.CheckPresence, err = d.Bool()
	case argCheckWrite:
		r.CheckWrite, err = d.Bool()
	default:
		err = d.Skip()
	}
	return err
}

// list reads an array of what item reads; it is not nil if it is empty.
func list[T any](d Decoder, item func(Decoder) (T, error)) ([]T, error) {
	all := []T{}
	err := d.Array(func() error {
		if len(all) == MaxBatch {
			return fmt.Errorf("more than %d objects in one batch: send it in parts", MaxBatch)
		}
		one, err := item(d)
		if err != nil {
			return fmt.Errorf("object %d: %w", len(all), err)
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// readObject reads the pair [obj_id, content].
func readObject(d Decoder) (o Object, err error) {
	n := 0
	err = d.Array(func() (err error) {
		switch n++; n {
		case 1:
			o.ID, err = readKey(d)
		case 2:
			o.Content, err = d.Bytes()
		default:
			err = d.Skip()
		}
		return err
	})
	if err == nil && (n != 2 || o.Content == nil) {
		err = errors.New("expected the pair [obj_id, content]")
	}
	return o, err
}

// Encode writes the arguments that are not nil, with check_presence where there is something to add; check_write is written
// if it is the only one, as the server in Python refuses arguments that an endpoint does not have.
func (r Request) Encode(f Format) *Body {
	return f.Encode(func(e Encoder) {
		var write []func()
		argument := func(given bool, name string, value func()) {
			if given {
				write = append(write, func() { e.Key(name); value() })
			}
		}
		adds := r.Content != nil || r.Contents != nil
		argument(r.Content != nil, argContent, func() { e.Bytes(r.Content) })
		argument(r.Contents != nil, argContents, func() { encodeList(e, r.Contents, encodeObject) })
		argument(r.ObjID != nil, argObjID, func() { r.ObjID.encode(e) })
		argument(r.ObjIDs != nil, argObjIDs, func() { encodeList(e, r.ObjIDs, encodeKey) })
		argument(adds, argCheckPresence, func() { e.Bool(r.CheckPresence) })
		argument(len(write) == 0, argCheckWrite, func() { e.Bool(r.CheckWrite) })
		e.Object(len(write))
		for _, argument := range write {
			argument()
		}
		e.End()
	})
}

func encodeList[T any](e Encoder, all []T, item func(Encoder, T)) {
	e.Array(len(all))
	for _, one := range all {
		item(e, one)
	}
	e.End()
}

func encodeKey(e Encoder, key [32]byte) { ID(key).encode(e) }

func encodeObject(e Encoder, o Object) {
	e.Array(2)
	encodeKey(e, o.ID)
	if o.Content == nil {
		o.Content = []byte{} // an empty object, not null
	}
	e.Bytes(o.Content)
	e.End()
}
