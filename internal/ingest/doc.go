// SPDX-License-Identifier: GPL-3.0-or-later

// Package ingest stores objects by group commit.
//
// All adds that wait at the same moment go into one transaction, and each is
// answered after its commit; alone, an add starts at once. The busier the
// writer, the larger the groups. A group is bounded in bytes and objects, and
// so is all that the writer holds in memory: an add that finds no room, or no
// lane, for a while is refused with [ErrBusy] and may be repeated.
//
// A writer has one or more lanes. A lane holds a claim on a shard of its own and
// commits one group after the other into it. A shard that has reached its size
// is marked full, and the next is claimed; one that nobody adds to for the idle
// timeout goes back to standby, and so do all at shutdown. A shard that an
// earlier writer left at its size is marked full as soon as it is claimed.
//
// A shard becomes an image on a device of twice the shard's size. A group that
// would not fit there with its index goes into the next shard, unless the shard
// is empty. Shards therefore fit, unless a single object is larger than the device.
//
// Errors. Each transaction proves the lane's claim. If the shard was taken away,
// nothing was written, and the group is added to another shard; so it is if the
// lease on the shard could not be renewed. After any other
// error the outcome is unknown: the callers get the error, and may repeat, since
// adding again what is stored already is harmless; the claim is never used
// again, only given back; and the lane claims anew with pauses of 1 s doubling
// up to 60 s. Meanwhile adds wait, or are taken by other lanes.
package ingest
