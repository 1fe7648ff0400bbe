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
// The database does. Every method that destroys takes a [Proof] of the claim in
// the database that allows it, and verifies the proof itself, under its own lock
// and before it touches a byte: nobody can forget to ask, or ask too early.
// Without a proof it returns [ErrNoProof]. A pool guards against what a database
// cannot see, a process that lost its claim and still writes: two drafts of one
// name never mix in one image, and who lost is told with [ErrFenced] or
// [ErrExists].
//
// Between two steps of [Pool.Create] a process may stall for any time: when it
// continues, it finds that it was shut out, or that its claim is another's. The
// one harm that it can do is to cost its successor the draft, if it stalls
// between verifying its proof and shutting out the holder of the image's lock;
// the successor then gets ErrFenced, and the shard is packed again. Edit shuts
// nobody out: ErrInUse.
//
// A pool does not know whether the packing of a finished image was recorded in
// the database: a packer may have died between [Draft.Commit] and that record, or
// the database may be older than the image. So an image that exists is replaced
// only if the [ReplaceProof] finds that nothing is lost with it.
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
