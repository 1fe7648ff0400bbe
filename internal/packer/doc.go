// SPDX-License-Identifier: GPL-3.0-or-later

// Package packer turns full shards into images.
//
// [Packer.Step] packs one shard: it claims it (FULL to PACKING), streams its
// table into a draft, flushes it, opens it again through a handle that bypasses
// this host's caches, and reads the whole image: every object must have the
// SHA-256 that it is stored under, every key must be found, and there must be as
// many as the table's snapshot had. Only then is the draft committed and the
// shard PACKED. So an image that is visible in a directory is complete, and a
// packer that fails leaves none: a Python packer, which may be next, would fail
// on it. The packer never changes the table; the cleaner drops it, once the shard
// is PACKED.
//
// # Crash recovery
//
// After a failure, or the end of the context, the packer releases the shard
// (FULL) and removes the draft. A process that is killed leaves the shard PACKING
// until the lease expires and another process reclaims it.
//
//	killed at                        left behind                  the next packer
//	claimed, draft not begun         PACKING                      packs
//	writing the draft                part of an image, no header  Create wipes it
//	flushing, verifying, committing  part or all of an image      Create wipes it
//	committed, PACKED not            image without a reference    replaces it if nothing is lost
//	PACKED committed                 PACKED                       nothing to do
//
// No reader opens an image before its shard is PACKED, so a leftover image is
// never read. If the database becomes unavailable while it commits PACKED, the
// release of the claim compares the state: a commit that took place stays.
//
// # What is replaced
//
// A whole image under the shard's name is replaced only if the table contains all of
// its objects, undamaged, or the index says that they were deleted or are elsewhere
// (package containment). Otherwise, or if it cannot be read, the shard is quarantined
// and nothing is touched: the database may be older than the image.
//
// # Deleted while it is packed
//
// The image has the objects of one snapshot of the table. An object deleted after
// that snapshot is in the image, its content row is removed and its index row is
// marked deleted; readers query the index first, so they do not see it, and the
// cleaner erases it from the image once the shard is PACKED. An object deleted
// before the snapshot is not in the image. The count that the image must have is
// that of the snapshot itself, so deletions never make packing fail.
//
// # An image that does not verify
//
// The table is read again. If an object in the table has a checksum mismatch, or a row is not an object at all, the shard is
// quarantined: an operator must act (wineryctl shards quarantined). Otherwise the image was at fault: the shard goes back to FULL with
// an error that names image and offset, and the next attempt replaces the image; the third damaged image quarantines the shard, too. A
// shard that failed is retried after the shards that did not, so that one bad shard does not block the queue.
//
// # A full pool, and other failures that cost much
//
// Create asks the pool for the room that the shard needs before anything is
// written. A try that failed after more than a minute is followed by a pause for
// this shard as long as the try took, twice as long after each further failure,
// 6 hours at most. Other shards are packed meanwhile; without any, each step fails with
// the last error until then, so that heartbeat and metrics show it. A process that starts again
// tries again at once.
//
// # Losing the shard
//
// The context of the work ends when the lease cannot be renewed. A process that
// takes the shard over fences this process off before it touches the image
// (package pool). The claim is verified again before the draft is committed, and
// by the transaction that sets PACKED and records the image.
package packer
