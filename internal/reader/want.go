// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"math"

	"winery/internal/metrics"
	"winery/sharedbase"
)

// want is what is wanted of an object.
type want struct {
	id    sharedbase.ObjID
	part  part
	bytes int64 // of the content, as read before; only where all is wanted
}

// atMost is the size in bytes of the largest content that is read from an image.
func (w want) atMost() int64 {
	if w.part == whole {
		return w.bytes
	}
	return w.part.atMost()
}

// counted returns m if the object is looked for the first time, to be read, else
// nil: an object that is read in two steps is one request.
func (w want) counted(m *metrics.Client) *metrics.Client {
	if w.part == small {
		return m
	}
	return nil
}

// part is how much of an object is read.
type part int

const (
	size   part = iota // its size
	small              // its size, and its content if that is small
	whole              // both
	hashed             // its size, after its content was hashed if that is in an image
	parts
)

// smallContent is the size in bytes up to which a content is read without
// asking: httpapi.Small.
const smallContent = 32 << 10

// impossibleSize is the size in bytes from which on an image is damaged that says that an
// object has it: PostgreSQL stores no value of 1 GiB. One flipped bit of a length must
// neither take the memory of all reads nor make a batch too large to be answered.
const impossibleSize = 1 << 30

// atMost is the size in bytes of the largest content that is read from a table.
func (p part) atMost() int64 {
	return [parts]int64{size: -1, small: smallContent, whole: math.MaxInt64, hashed: -1}[p]
}

// Admit is called with a number of bytes before they are read into memory. Its
// error ends the read, or makes it call again with fewer bytes.
type Admit = func(bytes int64) error
