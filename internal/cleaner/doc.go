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
//   - the image has at least as many objects as the table, and the table at
//     least as many as the index has present. More are those that were deleted
//     since the packing: from the index first, then from the table (a Python
//     writer leaves the row there), never from the image's header;
//   - a sample of the image's objects is in the table, byte for byte, but for as
//     many as were deleted.
//
// Where that fails, the shard goes back to PACKED with an error, and nothing
// was destroyed. The drop and the move to READONLY are one transaction.
//
// # Erasing deleted objects
//
// Deleting marks an object's index row and removes its content row, if there is
// a table. While the shard has no image (STANDBY, WRITING, FULL) the index row
// can go at once. While it is PACKING the image may have the object or not: it
// waits. Else the object is erased from the image first: its bytes and length
// zeroed, flushed, its index entry made void, flushed; then the image is opened
// anew, the object must not be found, and only then does the index row go. It
// is the only record that there is something to erase. An editor is exclusive:
// an image that another cleaner is editing is left to it.
//
// # Erasing and dropping at once
//
// Two cleaners may erase in an image and drop the table of its shard at the
// same time. Neither needs what the other takes away: erasing touches the image
// and index rows that are marked deleted; dropping touches the table, and of
// the image it compares only the header's count, which erasing leaves as it is,
// and objects that have a row in the table, which deleted ones have not. An
// object that is deleted and erased between the reading of its row and that of
// the image fails this try; nothing is destroyed, and the next try succeeds. A
// Step drops first and erases then, since space in the database is dearer.
//
// # Killed here, recovered how
//
//	at this point                     left behind                       the next cleaner
//	claimed, table not dropped        CLEANING, table and image         once released: checks and drops
//	drop committed                    READONLY                          nothing to do
//	zeroing an object                 marked deleted, bytes in part     erases again: the entry leads there
//	zeroed, entry not void            marked deleted, bytes zero        erases again
//	entry void, index row not gone    marked deleted, not in the image  finds nothing to erase, takes the row
//	index row gone                    nothing                           nothing to do
//
// Only the first of these needs the lock to be released. One bad image does not
// stop the others: each error names its shard and is joined to the step's.
package cleaner
