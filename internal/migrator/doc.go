// SPDX-License-Identifier: GPL-3.0-or-later

// Package migrator moves images from one pool to another, of any two kinds.
//
// [Migrator.Migrate] does so with one image:
//
//  1. it claims the image, looks again at the shard, and opens the source for
//     editing: nobody else erases in it, repairs or moves it. So the copy stays true
//     until the end, and objects that are deleted meanwhile keep their marks in the
//     index, to be erased in the new pool;
//  2. it copies the image as it is, in blocks, those full of zeros left out,
//     with the header last; flushes; and makes the copy visible;
//  3. it reads all of the copy through another handle, past this host's caches:
//     every object must have its SHA-256, every key must be found, and there
//     must be as many as in the source;
//  4. only then it tells the database, in a transaction that proves the claim: the
//     shard must be readonly, in the old pool still, and not quarantined. Mappers are
//     woken by that, and map the copy.
//
// What lies under the image's name in the new pool is replaced only if it is a copy
// of the same image, or nothing is lost with it (package containment).
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
// The next migration waits until the lease of the first runs out. If the source was
// edited between the two, the copy is replaced.
package migrator
