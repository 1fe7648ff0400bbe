// SPDX-License-Identifier: GPL-3.0-or-later

// Package sharedbase is the core of Winery: the shards and the claims to them,
// the index of objects, and the tables in which objects wait to be packed. All of
// this is in one PostgreSQL database, which any number of processes share,
// including those of Python Winery (swh.objstorage 7.2.0 to 7.4.1): the schema,
// version 5, and the meaning of each row are the same.
//
// # A shard's life
//
//	standby ⇄ writing* → full ⇄ packing* → packed ⇄ cleaning* → readonly
//	             ↑                                                  ↑
//	           (new)                        importing* ─────────────┘
//
//	state      locked  table  image  moved on by
//	standby            yes           a writer: writing
//	writing    *       yes           its writer: full, when it is full; standby, when idle or stopping
//	full               yes           a packer: packing
//	packing    *       yes    partly its packer: packed; full, when it fails
//	packed             yes    yes    a cleaner, once enough hosts mapped the image: cleaning
//	cleaning   *       yes    yes    its cleaner: readonly, dropping the table; packed, when it fails
//	readonly                  yes    final state
//	importing  *              yes    its importer: readonly (Python's; in Go, one transaction)
//
// One more transition leads from writing or packing to readonly, by Claim.AdoptImage
// alone: the image turned out to be complete and newer than the database.
//
// A transition that is not in this table (transitions) is refused without a
// query.
//
// # Claims
//
// A process that locks a shard gets a Claim to it, with its own locker uuid,
// which the shard's row records. Every later step of the claim is a statement
// that repeats name, locker and state in its WHERE; if no row matches, nothing
// changes and the error is *StateError. So a claim is invalid from the moment
// that the shard is released (by ReclaimExpired, ReleaseShard or Python), even if
// the same process locks the same shard again.
//
// A claim has a lease, a row of winery_lease that names its holder and its expiry
// by the server's clock. One goroutine of each SharedBase renews all of its
// leases every quarter of their duration, and locker_ts with them. An expired
// lease is never renewed; ReclaimExpired returns its shard to the state from
// which it was claimed. A holder that cannot renew stops earlier, by its own
// monotonic clock: Claim.Context. Locks without a lease belong to Python's
// processes, and are never reclaimed. docs/adr/0005 says what stops a holder that
// continues nevertheless.
//
//   - Locking is one statement: it takes a row FOR NO KEY UPDATE SKIP LOCKED and
//     updates it. Claimers do not wait for one another, and the foreign keys of
//     objects that are being added hide no shard.
//   - Adding is one statement that locks the shard's row FOR SHARE: the shard
//     keeps its state until the objects are committed, and a change of its state
//     waits. Index rows are inserted in the order of their keys; the contents of
//     exactly those that were new, deleted or left in flight are inserted into
//     the table.
//   - Deleting takes the shard's row FOR SHARE, unless it is being packed, then
//     the index row, then the table's. Packing starts before or after, never in
//     between.
//   - Dropping a table is one transaction with the change from cleaning to
//     readonly, and fails early rather than block readers. A function of the
//     database does it, with its owner's rights, as another one creates tables:
//     no user of a role needs the right itself (rightsOf).
//
// All transactions take locks in the order shard, index (by key), table, so that
// there is no deadlock. No lock is held by a dead process for long: transactions
// of several statements have an idle timeout on the server.
//
// # Claims to images
//
// The image of a packed shard is changed only under an ImageClaim: to erase
// deleted objects, to repair it, to move it to another pool. One process has the
// claim, by a row of winery_image_lease, which is a lease like others but not a
// lock of the shard: a cleaner may drop the table meanwhile. Each statement that
// relies on the claim first locks the shard's row and then proves the claim, so
// that the claim holds until the commit. It needs no reclaim: once it has
// expired, another process can claim the image.
//
// # Crash recovery
//
// A transaction that did not commit has no effect. So a process that is killed
// leaves the shard locked and complete, and recovery needs only that its lease
// expires and any process reclaims it:
//
//	killed while            left behind                     once reclaimed
//	creating a shard        nothing, or an empty shard      standby
//	writing                 what was acknowledged, or more  standby: the next writer continues
//	marking it full         writing or full                 standby or full
//	importing an image      nothing                         imported again
//	packing                 packing; an image, unfinished   full: packed again, from the table
//	marking it packed       packing or packed               full: packed again, or packed
//	dropping the table      cleaning, the table whole;      packed: cleaned again;
//	                        or readonly, without it         done
//	deleting an object      the object, or its mark         -
//	cleaning a deleted one  the mark                        erased again, which does no harm
//	moving it to a pool     the old pool's name or the new  moved again, or done
//
// An operation that failed with ErrUnavailable may have been committed. Adding
// again is safe; so is deleting (ErrNotFound then means that the first attempt
// succeeded).
//
// # Durability
//
// An acknowledgement means committed, with the server's synchronous_commit. A
// commit whose wait for a synchronous standby was cancelled takes effect on the
// primary, and the server only sends a warning: each connection turns it into an
// error, ErrUnavailable. UnsafeSettings names the settings of a server that may
// lose acknowledged commits.
//
// With a synchronous standby this is also true of objects that existed before:
// Add's lock on the shard's row is a write, so its commit waits for all earlier
// commits; Delete waits in the same way if there is nothing left to delete. An
// answer from Locate has no such meaning: before you act on it outside of the
// database, call WaitDurable.
//
// Only renewals of leases do not wait for the standby: no safety property depends
// on them. If a failover undoes a renewal, the lease ends early, which is as safe
// as any expired lease: transitions compare the locker, and the fences stop the
// holder's writes.
//
// # Connections
//
// A SharedBase has separate connections for lookups, adds, deletes, lists, the
// renewals of leases, and all the rest, each with a bound: work of one kind that
// waits, for example for locked rows, does not delay the other kinds. Together
// with the connection of Listen they are no more than WithConnections allows, and
// WithStreams and WithAdders add.
//
// Sessions are READ COMMITTED, have jit off and get warnings, whatever the database's
// settings are. A connection pooler is detected: then statements are not prepared,
// sessions have no settings, and Listen returns ErrPooled. Settings are then made
// in transactions, except for single statements, whose isolation and messages are
// those of the database.
//
// Each statement begins with its name in a comment, /* winery: LockShard */, which
// pg_stat_activity and the server's log show. A name belongs to one statement. pgx
// sends a few statements that have none: commit, rollback, savepoints, and the
// beginning of the transaction that streams a table.
//
// # Deleted objects
//
// An object has one row in the index, in the state present or deleted. Adding an
// object that is deleted makes its row present again. A row may also be inflight: an
// old release of Python Winery began to add the object and never finished. The object
// is absent, and adding it again completes it.
//
// Deleting marks the row and removes the content from the table; the row is the
// cleaner's record of what is to be erased in the shard's image. If the object is added again, the row goes to another shard,
// and a trigger notes the first one in winery_erasure: DeletedObjects gives both.
// A note does not count while the row is in the same shard again.
//
// Mark and note stay until a cleaner has searched for the object in the shard's
// image, and so until the shard is packed. The pool may have an image before
// that: from a packer of Go or Python that died after it had finished the image,
// or one that is newer than this database, which was restored from a backup. A
// process that replaces such an image must be able to distinguish an object that
// was deleted from one that would be lost.
//
// # Quarantined shards
//
// Where index, table and image of a shard are not consistent, the process that
// finds it quarantines the shard (winery_quarantine): the shard is not claimed,
// and nothing of it is destroyed, until it is unquarantined. Reading continues.
// Quarantine takes the shard's row lock, and each transaction that destroys takes
// it too, in a statement before the one that has the test in its WHERE: so one of
// them comes first, and a claim from before the quarantine becomes invalid
// (*QuarantinedError). Only a release of the shard, and claims for a repair, are
// not refused.
//
// # Statistics
//
// A trigger notes in winery_state since when a shard is in its state, whoever
// changed it, where a try to pack or to clean it that fails does not count;
// winery_verification has when its image was last read back as a whole.
// Nothing depends on these notes but SharedBase.Statistics.
//
// # Python's names
//
//	ShardState, .locked, .image_available     ShardState, Locked, ImageAvailable
//	ShardState.readonly                       StateCleaning, StateReadOnly
//	TemporaryShardLocker                      SharedBase.WithOneShard
//	SharedBase(base_dsn, application_name)    New
//	locked_shard, locked_shard_id             Claim.Name, Claim.ID
//	set_locked_shard                          SharedBase.LockWritingShard
//	lock_one_shard                            SharedBase.LockOneShard, ClaimFilter.MinMappedHosts
//	maybe_lock_one_shard                      SharedBase.WithOneShard
//	set_shard_state(check_locker=True)        Claim.SetState, Claim.Release
//	set_shard_state of another's shard        SharedBase.ReleaseShard
//	set_shard_state(set_locker=True)          SharedBase.LockOneShard with ClaimFilter.Name
//	set_shard_state(db=…)                     Claim.DropTable, the only step that is part of more
//	create_shard                              SharedBase.CreateShard
//	create_shard_for_import, import_ro_image  SharedBase.ImportShard
//	move_shard, get_shard_pool                ImageClaim.MoveShard, Shard.Pool
//	shard_packing_starts                      SharedBase.LockOneShard(full, packing), ClaimFilter.Name
//	shard_packing_ends                        Claim.SetState(packed)
//	get_shard_info, get_shard_state           SharedBase.ShardByID, SharedBase.ShardByName
//	list_shards, list_open_shards             SharedBase.ListShards, ShardFilter.States
//	list_stale_shards                         SharedBase.ListShards, ShardFilter.LockedFor
//	count_objects                             SharedBase.CountObjects
//	record_shard_mapped                       SharedBase.RecordShardMapped
//	contains, get                             SharedBase.Locate
//	record_new_obj_id(s), RWShard.add_batch   SharedBase.Add
//	delete, RWShard.delete                    SharedBase.Delete
//	deleted_objects                           SharedBase.ShardsToErase, SharedBase.DeletedObjects
//	clean_deleted_object                      ImageClaim.RecordErased
//	list_signatures                           SharedBase.ListObjects
//	RWShard.get, .total_size, .all, .drop     Content, TableSize, StreamTable, Claim.DropTable
//	initialize_database_for_module            SharedBase.Init
//	prepare-upgrade, swh_db_upgrade           SharedBase.Upgrade, SharedBase.PlanUpgrade
//
// Go Winery does more than Python's code: two hosts that record a mapping at once
// both succeed; a deleted object loses its table row in every state, and keeps
// its mark in the index for as long as an image may have the object; a stream
// counts in its own snapshot; each transition notifies listeners (Listen).
package sharedbase
