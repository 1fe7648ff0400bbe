// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import "cmp"

// The types of errors that both sides know.
const (
	TypeError       = "Error" // the request is at fault
	TypeNotFound    = "ObjNotFoundError"
	TypeCorrupted   = "ObjCorruptedError"
	TypeReadOnly    = "ReadOnlyObjStorageError"
	TypeUnavailable = "ObjStorageAPIError" // the storage is at fault
	TypePermission  = "PermissionError"
	TypeKey         = "KeyError"
)

// Error is an error as it travels. From Type and the arguments Python's client makes the exception; there is one
// argument: ObjID, or Arg, or Message, whichever is set first.
type Error struct {
	Type    string
	ObjID   ObjID
	Arg     string
	Message string
}

// module is where Python's exception of that type is defined.
func (e *Error) module() string {
	if e.Type == TypePermission || e.Type == TypeKey {
		return "builtins"
	}
	return "swh.objstorage.exc"
}

// Answer answers the error.
func (e *Error) Answer(enc Encoder) {
	text := func(name, value string) {
		enc.Key(name)
		enc.Text(value)
	}
	enc.Object(5)
	text("type", e.Type)
	text("module", e.module())
	enc.Key("args")
	enc.Array(1)
	if e.ObjID != nil {
		e.ObjID.encode(enc)
	} else {
		enc.Text(cmp.Or(e.Arg, e.Message))
	}
	enc.End()
	text("message", e.Message)
	enc.Key("traceback")
	enc.Array(0)
	enc.End()
	enc.End()
}

// ReadError reads an error's Type and Message.
func ReadError(d Decoder) (*Error, error) {
	e := &Error{}
	err := d.Object(func(name string) (err error) {
		switch name {
		case "type":
			e.Type, err = d.Text()
		case "message":
			e.Message, err = d.Text()
		default:
			err = d.Skip()
		}
		return err
	})
	return e, err
}
