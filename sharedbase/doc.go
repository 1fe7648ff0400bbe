// SPDX-License-Identifier: GPL-3.0-or-later

// Package sharedbase is the heart of Winery: which shards there are and who may
// do what with each, which shard has which object, and the tables in which
// objects wait to be packed. All of it is in one PostgreSQL database that any
// number of processes share, Python's Winery (swh.objstorage 7.2.0 to 7.4.1)
// among them: the schema, version 5, and the meaning of each row are the same.
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
//	packing    *       yes    partly its packer: packed; full, when it gives up
//	packed             yes    yes    a cleaner, once enough hosts mapped the image: cleaning
//	cleaning   *       yes    yes    its cleaner: readonly, dropping the table; packed, when it gives up
//	readonly                  yes    nobody
//	importing  *              yes    its importer: readonly (Python's; ours takes one transaction)
//
// One more transition leads from writing or packing to readonly, by Claim.AdoptImage
// alone: the image turned out to be complete and newer than the database.
//
// A transition that is not in this table (transitions) is refused before the
// database hears of it.
//
// # Claims
//
// Whoever locks a shard has a Claim to it, with a locker uuid of its own, which
// the shard's row records. Every later step of the claim is a statement that
// repeats name, locker and state in its WHERE; where no row matches, nothing
// happens and the error is *StateError. So a claim is worth nothing from the
// moment that anybody (ReclaimExpired, ReleaseShard, Python) took the shard away,
// even if the same process locks the same shard again.
//
// A claim comes with a lease, a row of winery_lease that says who holds it and
// until when by the server's clock. One goroutine of each SharedBase renews all
// of its leases every quarter of their time, and locker_ts with them. A lease
// that ran out is never renewed; ReclaimExpired moves its shard back to where it
// was locked from. A holder that cannot renew gives up before that, by a
// monotonic clock of its own: Claim.Context. Locks without a lease are of Python's
// processes; nobody reclaims them. docs/adr/0005 says what stops a holder that
// goes on all the same.
//
//   - Locking is one statement: it takes a row FOR NO KEY UPDATE SKIP LOCKED and
//     updates it. Claimers do not wait for one another, and the foreign keys of
//     objects that are being added hide no shard.
//   - Adding is one statement that takes the shard's row FOR SHARE: the shard
//     stays what it is until the objects are committed, and whoever moves it on
//     waits. Index rows are inserted in the order of their keys; the contents of
//     exactly those that were new, deleted or left in flight go into the table.
//   - Deleting takes the shard's row FOR SHARE, unless it is being packed, then
//     the index row, then the table's. Packing starts before or after, never in
//     between.
//   - Dropping a table is one transaction with the step from cleaning to
//     readonly, and gives up early rather than make readers wait.
//
// Everybody takes locks in the order shard, index (by key), table, so that none
// waits for another in a circle. No lock waits for a process that has died:
// transactions of several statements have an idle timeout on the server.
//
// # Claims to images
//
// The image of a shard that is packed is changed under an ImageClaim alone: to
// erase deleted objects, to repair it, to move it to another pool. One process has
// it, by a row of winery_image_lease, which is a lease like others but not a lock of
// the shard: a cleaner may drop the table meanwhile. Each statement that rests on it
// first takes the shard's row lock and then proves the claim, so that it holds until
// the commit. Nobody needs to reclaim it: once expired, it is the next one's.
//
// # After a crash
//
// What a transaction did not commit has not happened. So a process that is
// killed leaves the shard locked and complete, and it is enough that its lease
// runs out and any process reclaims it:
//
//	killed while            left behind                     once reclaimed
//	creating a shard        nothing, or an empty shard      standby
//	writing                 what was acknowledged, or more  standby: the next writer goes on
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
// again is safe; so is deleting (ErrNotFound then tells of the earlier success).
//
// # Durability
//
// An acknowledgement means committed, with the server's synchronous_commit. A
// commit that was cancelled while it waited for a synchronous standby is in force
// on the primary, and the server says so in a warning only: each connection makes
// an error of it, ErrUnavailable. UnsafeSettings names the settings of a server
// that acknowledges what it may lose.
//
// With a synchronous standby that holds for objects that were there before, too:
// Add's lock on the shard's row is a write, so that its commit waits for all
// that was committed before it; and so does Delete where there is nothing to
// delete any more. An answer from Locate has no such meaning: who acts upon it
// outside of the database calls WaitDurable first.
//
// Renewals of leases alone do not wait for the standby: nothing rests on them. A
// failover that undoes one makes a lease end early, which its holder survives as
// it survives any lease that ran out: its transitions compare the locker, and
// its writes meet the fences.
//
// # Connections
//
// A SharedBase has connections of their own for lookups, adds, deletes, lists, the
// renewals of leases, and all the rest, each with a bound: what one kind of work
// waits for, such as rows that somebody has locked, keeps no other waiting. With
// the one of Listen they are no more than WithConnections allows.
//
// Sessions are READ COMMITTED and have jit off, whatever the database's settings
// are. A connection pooler in between is noticed: then statements are not
// prepared, nothing is set for a session, and Listen returns ErrPooled. What has
// to be set is set in transactions, except for single statements, whose isolation
// is the database's default.
//
// # Deleted objects
//
// An object has one row in the index. Deleting marks it and removes the content
// from the table; the row is the cleaner's record of what is to be erased in the
// shard's image. If the object is added again, the row goes to another shard,
// and a trigger notes the first one in winery_erasure: DeletedObjects gives both.
// A note does not count while the row is in the same shard again.
//
// Mark and note stay until a cleaner has looked for the object in the shard's image,
// and so until the shard is packed. Before that the pool may have an image all the
// same: that of a packer that died after it had finished the image, Go's or Python's,
// or one that is newer than this database, which was restored from a backup. Whoever
// would replace that image must be able to tell an object that was deleted from one
// that would be lost.
//
// # Quarantined shards
//
// Where index, table and image of a shard are not consistent, the process that finds
// it quarantines the shard (winery_quarantine): the shard is not claimed, and nothing
// of it is destroyed, until it is unquarantined. Reading continues. Quarantine takes
// the shard's row lock, and each transaction that destroys takes it too, in a
// statement before the one that has the test in its WHERE: so either comes first, and
// a claim from before the quarantine is worth nothing (*QuarantinedError). Only giving
// a shard up, and claims made for a repair, are not refused.
//
// # Python's names
//
//	ShardState, .locked, .image_available     ShardState, Locked, ImageAvailable
//	ShardState.readonly                       ShardState.ReadOnly
//	SignatureState                            SignatureState
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
// Where ours does more: two hosts that record a mapping at once both succeed;
// a deleted object loses its table row in every state, and keeps its mark in the
// index for as long as an image may have it; a stream's count is of its own
// snapshot; each transition wakes listeners (Listen).
package sharedbase
