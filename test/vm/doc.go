// SPDX-License-Identifier: GPL-3.0-or-later

// Package vm tests what needs a machine of its own: the package with its units under
// systemd, shards that the kernel's rbd driver maps and readers read through
// /dev/rbd, and power cuts.
//
// The tests boot a virtual machine (QEMU without KVM; [scripts/vm-image] makes its
// disk). TestHost reaches PostgreSQL and Ceph on the host's loopback interface,
// PostgreSQL through a relay that can cut it off. TestPowerCut has PostgreSQL and a
// directory pool on a disk of the machine, and kills QEMU while clients add and
// delete: what was in the machine's page cache is lost, what it had flushed is kept.
// Where the machine cannot boot, the tests fail and show the end of its console.
//
// [scripts/vm-image]: ../../scripts/vm-image
package vm
