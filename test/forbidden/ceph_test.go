// SPDX-License-Identifier: GPL-3.0-or-later

package forbidden_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"winery/rbd"
	"winery/test/cephtest"
)

// commands has a command line of Ceph's tools for each act. POOL is the pool of images,
// and OTHER one of another program.
var commands = map[string]string{
	"remove an image":                  "rbd rm POOL/image",
	"write to an image":                "rbd bench --io-type write --io-size 4K --io-total 4K POOL/image",
	"make an image smaller":            "rbd resize --size 1 --allow-shrink POOL/image",
	"create an image":                  "rbd create --size 1 POOL/mine",
	"lock an image":                    "rbd lock add POOL/image mine",
	"overwrite the data of an image":   "rados -p POOL-data put mine /dev/null",
	"remove the marker of a pool":      "rados -p POOL rm winery_marker",
	"blocklist another client":         "ceph osd blocklist add 127.0.0.1:0/1",
	"read the pool of another program": "rados -p OTHER get object -",
	"remove a pool":                    "ceph osd pool rm POOL POOL --yes-i-really-really-mean-it",
	"read the keys of other users":     "ceph auth ls",
}

// The acts in Ceph. A cleaner has the caps of a packer, and a mapper those of a writer.
var cephActs = []act{
	{user: "writer", what: "remove an image"},
	{user: "writer", what: "write to an image"},
	{user: "writer", what: "make an image smaller"},
	{user: "writer", what: "create an image"},
	{user: "writer", what: "remove the marker of a pool"},
	{user: "writer", what: "blocklist another client"},
	{user: "mapper", what: "remove an image"},
	{user: "mapper", what: "write to an image"},
	{user: "mapper", what: "lock an image"},
	{user: "mapper", what: "overwrite the data of an image"},
	{user: "mapper", what: "blocklist another client"},
	{user: "packer", what: "read the pool of another program"},
	{user: "packer", what: "remove a pool"},
	{user: "cleaner", what: "read the pool of another program"},
	{user: "cleaner", what: "read the keys of other users"},
}

var notPermitted = regexp.MustCompile(`(?i)operation not permitted|permission denied|access denied`)

func TestForbiddenInCeph(t *testing.T) {
	pools, other := cephtest.New(t), cephtest.New(t)
	run := func(conf, user, command string) (string, error) {
		words := strings.Fields(strings.NewReplacer("POOL", pools.Pool, "OTHER", other.Pool).Replace(command))
		words = append(words, "--conf", conf, "--id", user)
		out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput()
		return string(out), err
	}
	asAdmin := func(commands ...string) {
		t.Helper()
		for _, command := range commands {
			if out, err := run(pools.Conf, "admin", command); err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
		}
	}
	asAdmin("rbd create --size 8 --data-pool POOL-data POOL/image", "rados -p POOL put winery_marker /dev/null", "rados -p OTHER put object /dev/null")
	type user struct{ conf, name string }
	users := map[string]user{}
	for role, caps := range map[string]rbd.Caps{
		"writer": rbd.ReadCaps(pools.Pool, pools.DataPool), "mapper": rbd.ReadCaps(pools.Pool, pools.DataPool),
		"packer": rbd.WriteCaps(pools.Pool, pools.DataPool), "cleaner": rbd.WriteCaps(pools.Pool, pools.DataPool),
	} {
		conf, name := cephtest.User(t, caps.Mon, caps.OSD)
		users[role] = user{conf, name}
	}
	for _, a := range cephActs {
		u := users[a.user]
		if out, err := run(u.conf, u.name, commands[a.what]); err == nil || !notPermitted.MatchString(out) {
			t.Errorf("%s must not %s: got %v: %s", a.user, a.what, err, out)
		}
	}
	// The commands are right, and nothing was done: an administrator does it all.
	asAdmin(commands["write to an image"], commands["overwrite the data of an image"], commands["create an image"],
		commands["make an image smaller"], commands["remove the marker of a pool"], commands["read the pool of another program"],
		commands["read the keys of other users"], commands["lock an image"])
}
