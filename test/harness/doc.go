// SPDX-License-Identifier: GPL-3.0-or-later

// Package harness runs a whole Winery as real processes: a private PostgreSQL
// and Ceph by the project's scripts, the four daemons from bin/, and a client
// that stores a source tree and reads it back. The demo and the end-to-end
// tests are built from it.
//
// Everything that a Fleet starts is in a folder of its own and is stopped by
// its own process ids; nothing else on the machine is touched.
package harness
