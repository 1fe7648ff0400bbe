// SPDX-License-Identifier: GPL-3.0-or-later

// Package cleaner removes data that is no longer needed: the tables of shards
// that are packed and mapped, and deleted objects in images.
//
// # Dropping a table
//
// A table is the last other copy of its objects, so [Cleaner.DropTables] drops it
// only if at least [Options.MinMappedHosts] hosts have recorded that they read
// the shard's image, and after its own last check, under the claim (PACKED to
// CLEANING), through a handle that bypasses this host's caches:
//
//   - the image is the one that was recorded when it was packed, and each object
//     that the index has present is in it, with its SHA-256: the whole image is
//     read (package scrub). The packer has read it, too; but the drop cannot be
//     undone;
//   - the image was packed with at least as many objects as the table has, and
//     the table has at least as many as the index. More are those that were
//     deleted since: from the index first, then from the table (a Python writer
//     leaves the row there). A table that a cleaner of Python dropped, before it failed,
//     has nothing to be compared.
//
// All of this takes as long as reading the image. So [Cleaner.DropTables] begins it only
// where the drop could succeed now: not where the owner of the database wants more hosts,
// nor while pg_dump, say, uses the table.
//
// The only finding that allows the drop is an object that is still to be erased:
// allowed findings are listed, because dropping cannot be undone. With any other
// finding the shard goes back to PACKED with an error, nothing is destroyed, and
// the shard is quarantined, unless the image is missing or only one of two reads
// failed: its file system may not be mounted, or this host may be at fault. The
// drop and the change to READONLY are one transaction, which a quarantine can
// stop until its commit.
//
// # Erasing deleted objects
//
// Deleting marks an object's index row and removes its content row, if there is a
// table. If the object is added again, to another shard, a note replaces the mark
// (winery_erasure). Marks and notes stay until the shard is PACKED (package
// sharedbase says why). Then [Cleaner.EraseDeleted] claims the image, checks that
// the image is the one that was packed, opens it for editing, and erases batches
// of about a thousand objects. For each batch it waits until the marks are
// durable and verifies the claim again. Then it zeroes the bytes and lengths of
// the objects and tombstones their index entries; each step is flushed, with
// several writes in flight. Then it commits the changed image, opens it again,
// checks that none of the objects is found, and only then removes their index rows,
// which are the only record that something must be erased. So the next cleaner
// resumes where a stopped or killed cleaner ended. Where a pool must write the whole
// image for each commit, a batch has up to a hundred thousand objects.
//
// Some images of each pool are erased in at the same time: one that is slow stops no
// other. [Cleaner.EraseDeleted] returns when the slowest pool is done. An image that
// another process has claimed is left to that process. One that a client without a claim
// can write to, such as a kernel that has mapped it, is not written to, which is an
// error: only a person can end that.
//
// # Erasing and dropping at once
//
// winery-cleaner drops and erases in two concurrent loops, because dropping
// tables can take days after a site was moved from Python. Each pool has two loops of its
// own, with a [Cleaner] each, because a pool may be as slow as that. One process may erase
// in an image while another drops the table of its shard. Neither needs what the
// other removes: erasing touches the image and index rows that are marked
// deleted; dropping touches the table, and an inconsistency in the image counts
// only if the index still has the object present when it is read again.
//
// # Calls that hang
//
// A call into a device or a library may never return. What is done with the image of a
// shard may take hours; but when calls are in flight and none of them has returned for
// [Options.CallTimeout], its context ends, and if it does not return then, it is left
// behind: a warning says so, the claim is released, and the other shards are cleaned. With
// [maxHanging] images of a pool that do not answer, no further image of the pool is begun in
// the round, or until one answers.
//
// No table is dropped by what was left behind. An erasure writes nothing and records nothing
// once its context has ended, and closes the image when what hangs returns. Only the calls in
// flight may still take effect: writes over objects whose marks stay, in an image that is
// locked for editing as long as it is open; or, where a pool replaces the whole image, a
// replacement that the store refuses if the image was changed meanwhile. Until they have
// returned, this cleaner leaves the image alone.
//
// # Crash recovery
//
//	killed at                         left behind                       the next cleaner
//	claimed, table not dropped        CLEANING, table and image         once reclaimed: checks and drops
//	drop committed                    READONLY                          nothing to do
//	zeroing an object                 marked deleted, bytes in part     erases again: the entry leads there
//	zeroed, entry not tombstoned      marked deleted, bytes zero        erases again
//	tombstoned, index row present     marked deleted, not in the image  finds nothing to erase, removes the row
//	index row removed                 nothing                           nothing to do
//
// The next cleaner waits until the lease of the first expires, on the shard or on
// the image. One bad image does not stop the others: each error names its shard
// and is joined to the step's.
package cleaner
