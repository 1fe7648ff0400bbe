// SPDX-License-Identifier: GPL-3.0-or-later

// Package migrator moves images from one pool to another, of any two kinds.
//
// [Migrator.Migrate] does so with one image:
//
//  1. it opens the source for editing, which keeps everybody else from editing
//     it: a cleaner comes back later. So the copy stays true until the end, and
//     objects that are deleted meanwhile keep their marks in the index, to be
//     erased in the new pool;
//  2. it copies the image as it is, in blocks, those full of zeros left out,
//     with the header last; flushes; and makes the copy visible;
//  3. it reads all of the copy through another handle, past this host's caches:
//     every object must have its SHA-256, every key must be found, and there
//     must be as many as in the source;
//  4. only then it tells the database, which compares: the shard must be readonly
//     and in the old pool still. Mappers are woken by that, and map the copy.
//
// The source stays, for hosts that have it open, and for the operator to
// remove. It is out of use: what is erased in the copy stays in it.
//
// # Killed here, recovered how
//
//	at this point               left behind                      the next migration
//	copying                     half a copy, no header           replaces it
//	copied, not verified        a copy that nobody refers to     verifies it
//	verified, not recorded      a copy that nobody refers to     verifies and records it
//	recorded                    the image in its new pool        nothing to do
//
// If the source was edited between the two, the copy is replaced.
package migrator
