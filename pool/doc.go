// SPDX-License-Identifier: GPL-3.0-or-later

// Package pool says what Winery needs of a place that keeps shard images.
//
// An image is a named array of bytes. It is written once, from a [Draft], and
// from its commit on it is read-only but for the erasing of deleted objects
// through an [Editor]. Winery has two kinds of pool: package rbd keeps images
// in Ceph, package pool/directory keeps them as files. Package pool/pooltest
// holds the tests that both must pass, and any further kind too.
//
// # Who protects an image
//
// The database does: only the holder of the shard's row, in state packing, may
// call [Pool.Create], and only the cleaner's claim may call [Pool.Edit]. A pool
// guards against what a database cannot see, a process that lost its row and
// still writes: two drafts of one name never mix in one image, and who lost is
// told with [ErrFenced] or [ErrExists].
//
// Create therefore believes its caller, asks once more when the image is its
// alone, and only then touches it. Between two of its steps a process may stall
// for any time: going on, it finds that it was shut out, or that the row is
// another's. The one harm that it can do is to cost its successor the draft,
// if it stalls between being told that the row is its own and shutting out who
// has the image; the successor then gets ErrFenced, and the shard is packed
// anew. Edit shuts nobody out: ErrInUse.
//
// A pool does not know whether the packing of a finished image was recorded in
// the database. An image whose packer died between [Draft.Commit] and that
// record is a leftover like any other, and Create replaces it.
//
// # Conventions
//
// All methods of a Pool may be called concurrently, also for the same name. A
// context that has ended before a call makes the call return its error and do
// nothing, save for [Draft.Abort], which always tidies up. Calls that reach
// Ceph or a disk cannot be interrupted half-way; those that can take minutes
// look at the context between their steps.
//
// Errors name the pool and the image, and match the Err variables of this
// package with [errors.Is] where one applies.
package pool
