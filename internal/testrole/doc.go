// SPDX-License-Identifier: GPL-3.0-or-later

// Package testrole sets the stage for the tests of packer, mapper and cleaner:
// a database and a pool of their own on real services, shards filled with
// objects, a pool that calls the test back before each operation, and processes
// that kill themselves there.
package testrole
