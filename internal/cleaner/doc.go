// SPDX-License-Identifier: GPL-3.0-or-later

// Package cleaner takes away what is not needed any more: the tables of shards
// that are packed and mapped, and deleted objects in images.
//
// # Dropping a table
//
// A table is the last other copy of its objects, so [Cleaner.Step] drops it
// only if at least [Options.MinMappedHosts] hosts have recorded that they read
// the shard's image, and after a last look of its own, under the claim (PACKED
// to CLEANING), by a handle that goes past this host's caches:
//
//   - the image is the one that was recorded when it was packed, and each object
//     that the index has present is in it, with its SHA-256: all of it is read
//     (package scrub). The packer did so, too; but what follows cannot be undone;
//   - the image was packed with at least as many objects as the table has, and
//     the table has at least as many as the index. More are those that were
//     deleted since: from the index first, then from the table (a Python writer
//     leaves the row there).
//
// Where that fails, the shard goes back to PACKED with an error and is quarantined:
// nothing was destroyed, and nobody tries again until a person has looked. The
// drop and the move to READONLY are one transaction.
//
// # Erasing deleted objects
//
// Deleting marks an object's index row and removes its content row, if there is
// a table. If the object is added again, to another shard, a note takes the
// mark's place (winery_erasure). While the shard has no image (STANDBY, WRITING,
// FULL) the index row can go at once. While it is PACKING the image may have the
// object or not: it waits. Else, once the marks are as durable as the database
// makes anything, and if the image is the one that was packed, the object is
// erased from the image first: its bytes and length zeroed, flushed, its index
// entry made void, flushed; then the image is opened anew, the object must not be
// found, and only then does the index row go. It is the only record that there is
// something to erase. An editor is exclusive: an image that another cleaner is
// editing is left to it.
//
// # Erasing and dropping at once
//
// Two cleaners may erase in an image and drop the table of its shard at the
// same time. Neither needs what the other takes away: erasing touches the image
// and index rows that are marked deleted; dropping touches the table, and what
// does not fit in the image counts only if the index still has it present when
// it is looked at again. A Step drops first and erases then, since space in the
// database is dearer.
//
// # Killed here, recovered how
//
//	at this point                     left behind                       the next cleaner
//	claimed, table not dropped        CLEANING, table and image         once reclaimed: checks and drops
//	drop committed                    READONLY                          nothing to do
//	zeroing an object                 marked deleted, bytes in part     erases again: the entry leads there
//	zeroed, entry not void            marked deleted, bytes zero        erases again
//	entry void, index row not gone    marked deleted, not in the image  finds nothing to erase, takes the row
//	index row gone                    nothing                           nothing to do
//
// Only the first of these waits, for a lease to run out. One bad image does not
// stop the others: each error names its shard and is joined to the step's.
package cleaner
