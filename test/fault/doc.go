// SPDX-License-Identifier: GPL-3.0-or-later

// Package fault takes PostgreSQL and Ceph away from a fleet of real
// processes that works, in all the ways that an operator meets, and proves that
// nothing acknowledged is lost and that the work goes on by itself.
//
// Each test has services of its own, started by scripts/pg-up and
// scripts/ceph-up, and programs from bin/ (make build). The test of a full disk
// mounts a file system, for which it must be root.
package fault
