// SPDX-License-Identifier: GPL-3.0-or-later

package shard

import (
	"encoding/binary"
	"strings"
)

// readHeader fills in info except the image's size, which the hash function
// determines. As each part starts where the one before ends, no field can change
// unnoticed but the number of objects, which Verify counts. It returns the
// header's bytes.
func (r *Reader) readHeader(device int64) (b []byte, err error) {
	if device < headerSize {
		return nil, r.damaged(device, "the image ends within its header")
	}
	b = make([]byte, headerSize)
	if err := r.read(b, 0); err != nil {
		return nil, err
	}
	if got := string(b[:atVersion]); got != magic+strings.Repeat("\x00", atVersion-len(magic)) {
		return nil, r.damaged(0, "not an SWHShard")
	}
	field := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	var (
		objects     = field(atObjects)
		objectsSize = field(atObjectsSize)
		indexSize   = field(atIndexSize)
		limit       = uint64(device)
	)
	switch indexPosition := headerSize + objectsSize; {
	case field(atVersion) != version:
		return nil, r.damaged(atVersion, "format version %d instead of %d", field(atVersion), version)
	case field(atObjectsPosition) != headerSize:
		return nil, r.damaged(atObjectsPosition, "objects start at %d instead of %d", field(atObjectsPosition), headerSize)
	case objectsSize > limit-headerSize:
		return nil, r.damaged(atObjectsSize, "%d bytes of objects on a device of %d", objectsSize, limit)
	case objects > objectsSize/lengthSize:
		return nil, r.damaged(atObjects, "%d objects in %d bytes", objects, objectsSize)
	case field(atIndexPosition) != indexPosition:
		return nil, r.damaged(atIndexPosition, "the index is at %d, the objects end at %d", field(atIndexPosition), indexPosition)
	case indexSize > limit-indexPosition || indexSize%entrySize != 0 || indexSize/entrySize < objects:
		return nil, r.damaged(atIndexSize, "an index of %d bytes for %d objects at %d of %d", indexSize, objects, indexPosition, limit)
	case field(atHashPosition) != indexPosition+indexSize:
		return nil, r.damaged(atHashPosition, "the hash function is at %d, the index ends at %d", field(atHashPosition), indexPosition+indexSize)
	}
	r.info = newLayout(int64(objects), int64(objectsSize), int64(indexSize/entrySize))
	return b, nil
}

// readHash returns the bytes of the hash function.
func (r *Reader) readHash(device int64) (dump []byte, err error) {
	at, left := r.info.HashPosition, device-r.info.HashPosition
	if left < int64(dumpPrefix) {
		return nil, r.damaged(device, "the image ends within its hash function")
	}
	prefix := make([]byte, dumpPrefix)
	if err := r.read(prefix, at); err != nil {
		return nil, err
	}
	h, size, err := parsePrefix(prefix)
	switch {
	case err != nil:
		return nil, r.damaged(at, "hash function: %v", err)
	case int64(h.slots) != r.info.IndexSlots:
		return nil, r.damaged(at, "a hash function of %d slots for an index of %d", h.slots, r.info.IndexSlots)
	case size > left:
		return nil, r.damaged(device, "the image ends within its hash function")
	}
	dump = make([]byte, size)
	if err := r.read(dump, at); err != nil {
		return nil, err
	}
	if r.hash, err = parseHash(dump); err != nil {
		return nil, r.damaged(at, "hash function: %v", err)
	}
	r.info.Size = at + size
	return dump, nil
}
