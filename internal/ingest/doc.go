// SPDX-License-Identifier: GPL-3.0-or-later

// Package ingest stores objects by group commit.
//
// All adds that wait at the same moment go into one transaction, the group, and
// each is answered after its commit. An add that comes alone starts at once. The
// busier the writer, the larger the groups. Bytes and objects of a group are
// bounded, and so is the memory of all adds that the writer holds: an add that
// finds no memory, or that no lane takes, for ten seconds is refused with
// [ErrBusy], and may be repeated.
//
// # Lanes and shards
//
// A writer has one or more lanes. A lane holds a claim on a shard of its own and
// commits one group after the other into the shard's table. It claims the oldest
// standby shard of the active pool and of [Options.OtherPools], or else creates a
// shard in the active pool. A shard that has reached its size is marked full, and
// the next is claimed. A shard without an add for the idle timeout goes back to
// standby, and so do all shards at shutdown.
//
// The lane knows the size of the shard's table from the last writer of the shard,
// which recorded it when it released the shard. Where nothing is recorded (the
// last writer died, or was Python's), the lane counts the table in the
// background, and adds continue meanwhile. A shard that gets half of its size
// before the count is done is marked full. The size never omits an object: it may
// count objects twice that were added while the count began, and includes objects
// that were deleted since, and objects whose commit was not confirmed. So a shard
// may be marked full a little early, never late.
//
// A shard becomes an image on a device of twice the shard's size. A group that
// would not fit there with its index goes into the next shard, unless the shard
// is empty. Shards therefore fit, unless a single object is larger than the
// device.
//
// # Contended objects
//
// Where another transaction holds the row of an object for more than a second
// (an import that adds it, say), the transaction of the group fails and nothing
// of it is written. The lane then splits the group until it has found the
// contended objects, and commits the others. Requests with a contended object are
// set aside and tried twice a second; after [Options.QueueWait] such a request
// fails with [sharedbase.ErrContended]. It fails at once, with the reason, where the
// lane cannot write. As long as an object is known to be contended, new requests that
// have it are set aside at once, so that they delay no other. What is set aside has
// memory of its own; a request for which there is none fails at once.
//
// # Damage in the database
//
// Where the server cannot read or write the page, or the row, of an object, because of
// damage or its disk, the transaction of the group fails as well, nothing of it is
// written, and the claim holds ([sharedbase.Refused]). The lane splits the group in the
// same way, and sets requests aside in the same way; but a request with an object that
// fails alone gets the error. Where [maxDamages] transactions have failed so in succession, no objects are to
// blame. The lane then adds to another shard what its shard refused last. If that succeeds, the
// table of its shard is damaged: the lane marks the shard full, for a packer to say
// what is damaged, and continues with the other one. Otherwise all shards are
// concerned: the lane keeps its shard, the requests of the group get the error, and the lane pauses.
// It tries again after twice as many failures.
//
// # Errors
//
// Each transaction proves the lane's claim. If another process has taken the
// shard, nothing was written, and the group is added to another shard. The same
// happens if the lease on the shard could not be renewed. After any other error,
// except those of contention and damage, the outcome is unknown: the callers get the
// error, and may repeat, since adding again what is stored already is harmless. The
// lane never uses that claim again except to release it, and claims another shard,
// with pauses of at most [maxPause] between attempts. Meanwhile adds wait, or other
// lanes take them.
package ingest
