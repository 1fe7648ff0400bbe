// SPDX-License-Identifier: GPL-3.0-or-later

// Package migrator moves images from one pool to another, of any two types. Where the
// formats of their images differ, it encodes the objects again.
//
// [Migrator.Migrate] does so with one image:
//
//  1. it claims the image, reads the shard's row again, and opens the source for
//     editing: no other process can erase in it, repair or move it. So the copy
//     stays equal to the source until the end, and objects that are deleted
//     meanwhile keep their marks in the index, to be erased in the new pool;
//     The source must be the image that was recorded when it was packed;
//  2. it copies the image as it is, in blocks, except blocks of zeros, with the
//     header last; flushes; and makes the copy visible. Between pools of different
//     formats it reads every object, compares its SHA-256 with its id, and writes an
//     image of those that are not erased;
//  3. it reads the whole copy through another handle, past this host's caches:
//     every object must have its SHA-256, every key must be found, and there must
//     be as many as in the source; in another format also the same keys. Where the
//     source was removed before, the copy must be the recorded image, unless its format
//     is another, and have every object that the index has in the shard;
//  4. only then it records the new pool in the database, in a transaction that
//     proves the claim: the shard must be readonly, still in the old pool, and
//     not quarantined. The transaction records the fingerprint of an image in another
//     format, and notifies mappers, which map the copy.
//
// An existing image of that name in the new pool is replaced only if it is unfinished;
// or if the whole source was read and is intact, and the image is a copy of the source
// or no object is lost with it (package containment).
//
// The source stays, for hosts that have it open, and for the operator to
// remove. It is out of use: what is erased in the copy stays in it.
//
// # Crash recovery
//
//	killed at                   left behind                      the next migration
//	copying                     an incomplete copy, no header    replaces it
//	copied, not verified        a copy without a reference       verifies it
//	verified, not recorded      a copy without a reference       verifies and records it
//	recorded                    the image in its new pool        nothing to do
//
// The next migration waits until the lease of the first expires. If the source
// was edited between the two, the copy is replaced.
package migrator
