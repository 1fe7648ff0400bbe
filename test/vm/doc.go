// SPDX-License-Identifier: GPL-3.0-or-later

// Package vm proves what only a kernel can: shards mapped by the rbd driver
// and read through /dev/rbd, by our programs as systemd's units.
//
// The machine that the tests run on is not asked for its kernel's driver. They
// boot a virtual one instead (QEMU without KVM; [scripts/vm-image] makes its
// disk), which reaches PostgreSQL and Ceph on the host's loopback interface.
// Where it cannot boot, the tests fail and show the end of its console.
//
// [scripts/vm-image]: ../../scripts/vm-image
package vm
