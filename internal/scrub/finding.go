// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"encoding/hex"

	"winery/sharedbase"
)

// Kind is what is wrong.
type Kind string

// The kinds of findings.
const (
	ImageMissing  Kind = "image missing"  // the pool has no image of the shard's name
	HeadDamaged   Kind = "head damaged"   // header or hash function: the image does not open
	RecordDiffers Kind = "record differs" // the image is not the one that was recorded when it was packed
	ImageDamaged  Kind = "image damaged"  // something that is not one object's
	ObjectDamaged Kind = "object damaged" // in the image
	NotInImage    Kind = "not in image"   // an object that the index has in the shard
	NotErased     Kind = "not erased"     // an object in the image that the index does not have
	ReadsDiffer   Kind = "reads differ"   // this host's mapping, or one reading, is wrong; the store is right
	NotInTable    Kind = "not in table"   // an object that the index has in the shard
	RowDamaged    Kind = "row damaged"    // an object in the table
	NewerImage    Kind = "newer image"    // an image of a shard that the database has not packed
)

// AllowsDrop says whether the table of a shard may be dropped although its image
// has such a finding. It lists the allowed kinds: dropping cannot be undone, so
// every other kind, also one that is added later, forbids it.
func (k Kind) AllowsDrop() bool { return k == NotErased }

// Repairable reports whether the image lacks something, which a repair can bring back.
func (k Kind) Repairable() bool {
	switch k {
	case ImageMissing, HeadDamaged, RecordDiffers, ImageDamaged, ObjectDamaged, NotInImage:
		return true
	case NotErased, ReadsDiffer, NotInTable, RowDamaged, NewerImage:
	}
	return false
}

// Finding is an inconsistency or damage that a scrub found.
type Finding struct {
	Shard  string `json:"shard"`
	Pool   string `json:"pool"`
	Kind   Kind   `json:"kind"`
	Object Object `json:"object,omitzero"` // zero: it is not one object's
	Text   string `json:"text"`            // a sentence
}

// Object is an object's id, which reads as hexadecimal digits.
type Object sharedbase.ObjID

// MarshalText implements [encoding.TextMarshaler].
func (o Object) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, o[:]), nil }
