// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import "strings"

// Caps are the capabilities of a user of Ceph, as `ceph auth caps` takes them.
type Caps struct{ Mon, OSD string }

// ReadCaps returns those of a user who reads the images and markers of pools, and maps
// images read-only. pools has the pools of images and those of their data.
func ReadCaps(pools ...string) Caps {
	// The profile of this name is for OSDs only. The profile rbd of the monitors
	// would also permit to blocklist other clients.
	return Caps{Mon: "allow r", OSD: forEach("profile rbd-read-only", pools)}
}

// WriteCaps returns those of a user who also creates, changes and removes images, and
// blocklists the old holder of one.
func WriteCaps(pools ...string) Caps {
	return Caps{Mon: "profile rbd", OSD: forEach("profile rbd", pools)}
}

func forEach(profile string, pools []string) string {
	caps := make([]string, len(pools))
	for i, pool := range pools {
		caps[i] = profile + " pool=" + pool
	}
	return strings.Join(caps, ", ")
}
