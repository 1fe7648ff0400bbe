// SPDX-License-Identifier: GPL-3.0-or-later

// Package scrub verifies shards and repairs them.
//
// # What must hold
//
// [Scrubber.Scrub] reads a shard and compares what the database and the pool
// have of it:
//
//   - each object that the index has present in the shard has a row in the
//     shard's table, while there is one, and is in the image, once there is one,
//     both with its SHA-256;
//   - an image is the one that was recorded when it was packed, and none of its
//     bytes belongs to nobody;
//   - an object in the image is present in the shard, or in another one, or is
//     marked or noted to be erased. Another one is a [NotErased]: its bytes were
//     to go, or its index row was not.
//
// Memory is 40 bytes an object of one image, or 32 of a table's, whatever their
// sizes. Contents of tables are hashed by the server.
//
// # While others work
//
// Writers, packers and cleaners go on meanwhile: nothing is locked. So what does
// not fit at first sight is looked at again, in an order in which a change that
// was under way must show: nobody puts an object into an image that is finished,
// an object is erased from the image before its index row goes, and index row
// and table row come and go in one transaction. A shard that moved on is read
// again as a whole.
//
// # Repair
//
// [Scrubber.Repair] works under a claim to the image, for a repair: no cleaner erases
// in the image meanwhile, and no mark of a deleted object goes. It restores objects
// only from bytes that have their SHA-256, and only objects that the index has
// present in the shard, which is read once the image is claimed: what was deleted
// before is not restored, and what is deleted later keeps its mark and is erased
// again.
//
//   - while the table exists, and all of it is right, the image is made again from
//     it, under a claim to the shard, too (PACKED to CLEANING), by the packer's
//     steps, if nothing that can be read of the old image is lost. Readers use the
//     table meanwhile;
//   - else from an image of the same name in another pool, of the same layout, in
//     place. Header and hash function come from there if they are those that were
//     recorded when the image was packed;
//   - objects that should have been erased are erased, if that is asked for. It is
//     never done by itself: a lost index row looks the same.
//
// After each repair the whole shard is scrubbed again, by new handles. Only what
// that finds is repaired, and a quarantined shard is unquarantined only once nothing is
// found any more. Killed anywhere, a repair leaves something for the next: a
// half made image is a damaged one, whose table is still there; an object's bytes
// are written before its index entry.
//
// # Patrol
//
// [Patrol] scrubs the images that are mapped on this host, slowly, through the
// mapping, and quarantines the shards of those that are damaged.
package scrub
