// SPDX-License-Identifier: GPL-3.0-or-later

// Package pool says what Winery needs of a place that keeps shard images.
//
// An image is a named array of bytes. It is written once, from a [Draft], and
// from its commit on it is read-only but for the erasing of deleted objects
// through an [Editor]. Winery has three kinds of pool: package rbd keeps images
// in Ceph, package pool/directory keeps them as files, package pool/s3 as objects in
// S3. Package pool/pooltest holds the tests that all must pass, and any further kind
// too. What the bytes mean is the matter of the pool's format, see package format.
//
// # Protection of images
//
// The database does. Every method that destroys takes a [Proof] of the claim in
// the database that allows it, and verifies the proof itself, under its own lock
// and before it changes a byte: no caller can forget the check, or check too
// early. Without a proof it returns [ErrNoProof]. A pool protects against a
// danger that a database cannot see, a process that lost its claim and still
// writes: two drafts of one name never mix in one image, and the process that
// lost gets [ErrFenced] or [ErrExists].
//
// Between two steps of [Pool.Create] a process may stall for any time: when it
// continues, it finds that it was fenced off, or that its claim is lost. It can
// do only one harm: if it stalls after it verified its proof and before it fences
// the holder of the image's lock, its successor loses the draft and gets
// ErrFenced, and the shard is packed again. The same holds for [Pool.Remove], but that a
// pool may lock the image against its successor, which gets ErrInUse. Edit fences no live
// process: ErrInUse.
//
// A pool does not know whether the packing of a finished image was recorded in
// the database: a packer may have died between [Draft.Commit] and that record, or
// the database may be older than the image. So an image that exists is replaced
// only if the [ReplaceProof] finds that nothing is lost with it.
//
// # Conventions
//
// All methods of a Pool may be called concurrently, also for the same name. If
// the context has ended before a call, the call returns the context's error and
// does nothing, except for [Draft.Abort], which always cleans up. Calls to Ceph
// or a disk cannot be interrupted; those that can take minutes check the context
// between their steps; those that can take hours, as an upload to S3, report their
// progress to it ([WithProgress]), and keep its limit ([WithLimit]).
//
// Errors name the pool and the image, and match the Err variables of this
// package with [errors.Is] where one applies.
package pool
