// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// directoryObject lists the images of an RBD pool in its omap: under
	// directoryKey + NAME the image's id, as Ceph encodes a string: its length, a
	// little-endian uint32, and its bytes.
	directoryObject = "rbd_directory"
	directoryKey    = "name_"
	// directoryPage is how many images are read at a time.
	directoryPage = 10_000
)

// imageIDs returns, by name, the ids of the images whose names begin with prefix.
// An image that is removed and created again has another id. Its errors are
// Ceph's.
func (p *Pool) imageIDs(ctx context.Context, prefix string) (map[string]string, error) {
	ceph, err := p.ceph.get(ctx)
	if err != nil {
		return nil, err
	}
	defer p.ceph.count(-1)
	ids := map[string]string{}
	values, err := ceph.io.GetAllOmapValues(directoryObject, "", directoryKey+prefix, directoryPage)
	if errno(err) == unix.ENOENT {
		return ids, nil // the pool never had an image
	}
	for key, value := range values {
		if len(value) < 4 || int(binary.LittleEndian.Uint32(value)) != len(value)-4 {
			return nil, fmt.Errorf("%s has %q under %s, which is not an image's id", directoryObject, value, key)
		}
		ids[strings.TrimPrefix(key, directoryKey)] = string(value[4:])
	}
	return ids, err
}
