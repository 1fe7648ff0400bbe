// SPDX-License-Identifier: GPL-3.0-or-later

package reader

import (
	"errors"
	"fmt"

	"winery/sharedbase"
)

// ErrNotFound: there is no such object, or it was deleted.
var ErrNotFound = errors.New("object not found")

// errAbsent: the place that the index named does not have the object. The
// object may have been deleted or moved since; see Reader.get.
var errAbsent = errors.New("the index has the object, but its shard does not")

// CorruptError says that an object is in the index, but its bytes are damaged or
// lost.
type CorruptError struct {
	ID    sharedbase.ObjID
	Shard string // name of the shard that should have it
	Err   error  // what is wrong
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("object %x in shard %s is damaged: %v", e.ID, e.Shard, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }
