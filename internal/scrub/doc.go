// SPDX-License-Identifier: GPL-3.0-or-later

// Package scrub verifies shards and repairs them.
//
// # What must hold
//
// [Scrubber.Scrub] reads a shard and compares its contents in the database and in
// the pool:
//
//   - each object that the index has present in the shard has a row in the
//     shard's table, while there is one, and is in the image, once there is one,
//     both with its SHA-256;
//   - an image is the one that was recorded when it was packed, and each of its
//     bytes is accounted for;
//   - an object in the image is present in the shard, or in another one, or is
//     marked or noted to be erased. Another one is a [NotErased]: its bytes were
//     to go, or its index row was not.
//
// Memory is 40 bytes an object of one image, or 32 of a table's, whatever their
// sizes. Contents of tables are hashed by the server.
//
// # While others work
//
// Writers, packers and cleaners continue meanwhile: nothing is locked. So each
// suspected inconsistency is read again, in an order in which a change in flight
// must show: no process adds an object to a finished image, an object is erased
// from the image before its index row is removed, and index row and table row
// appear and disappear in one transaction. A shard whose state changed is read
// again completely.
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
//     table meanwhile. Before, the hosts that mapped the old image are forgotten, so that
//     no cleaner of Python Winery drops the table if the image is not completed;
//   - else from an image of the same name in another pool, of the same layout, in
//     place. Header and hash function come from there if they are those that were
//     recorded when the image was packed, and fit the index entries of the image;
//   - a readonly shard's image that is whole, and differs from its record alone, is
//     recorded: Python's migrate-pool made it, say. All of it is read once more under the
//     claim before;
//   - objects that should have been erased are erased, if the caller requests it.
//     Repair never does this by default: a lost index row looks the same.
//
// After each repair the whole shard is scrubbed again, by new handles. Only
// findings of that scrub are repaired, and a quarantined shard is unquarantined
// only once a scrub finds nothing. A repair can be killed at any point and
// repeated: an unfinished image counts as damaged, and its table still exists; an
// object's bytes are written before its index entry.
//
// # Patrol
//
// [Patrol] scrubs the images that are mapped on this host, slowly, through the
// mapping but past what is cached ([pool.WithoutCache]), and quarantines the shards of those
// that are damaged. Hosts that map the
// same images share the work: the database has when each was last read back. An
// image that does not answer is left behind with the call that hangs, and a pool that
// fails is skipped, so that neither keeps the others from being scrubbed.
package scrub
