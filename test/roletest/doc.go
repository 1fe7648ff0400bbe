// SPDX-License-Identifier: GPL-3.0-or-later

// Package roletest sets the stage for the tests of roles: a database and a pool
// of their own on real services, shards filled with objects, a pool that calls
// the test back before and after each operation, and processes that are killed,
// or stopped, at any point between two operations or statements.
package roletest
