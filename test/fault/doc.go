// SPDX-License-Identifier: GPL-3.0-or-later

// Package fault makes PostgreSQL and Ceph unavailable to a working fleet of real
// processes, in all the ways that an operator meets, and proves that no
// acknowledged object is lost and that the work resumes by itself.
//
// Each test has services of its own, started by scripts/pg-up and
// scripts/ceph-up, and programs from bin/ (make build). The test of a full disk
// mounts a file system, for which it must be root.
package fault
