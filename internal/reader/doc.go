// SPDX-License-Identifier: GPL-3.0-or-later

// Package reader reads objects from images and tables.
//
// Each read queries the index in PostgreSQL first: an object exists if and only
// if it has an index row, which names the shard. The bytes come from the shard's
// image if the shard has one in its state and this host has mapped it, else from
// the shard's table. Content is hashed before it is returned (SHA-256, about 1 ns
// a byte), both from an image and from a table: a caller never gets wrong bytes.
//
// A shard changes while it is read: its table is dropped, its image is mapped,
// an object is erased, or deleted and added again in another shard. So an object
// that was not found where the index said, or was damaged there, is looked up
// again, up to two times, and its image opened again: an image that was open may
// have been repaired or replaced since. Only what the index still promises then
// is an error, and never ErrNotFound:
//
//   - a shard without a table, whose image this host has not mapped:
//     an error that matches [pool.ErrNotMapped] and says what to do;
//   - a shard without a table, in a pool that is not configured or whose store does
//     not answer or refuses: ErrPoolNotConfigured, or the error of the pool;
//   - an object that neither image nor table has, or that is damaged, in an image or
//     in PostgreSQL's files: [*CorruptError].
//
// If the image fails and the table still exists, the object is read from the
// table, and the log says so. If this host has not mapped the image, the object is read from the image
// of that name in another pool, if there is one: a shard that was moved to
// another pool is read in its old pool until the mapper of this host has mapped
// the new image.
//
// # Images that hang
//
// A call to an image occupies a thread until it returns, and a stopped OSD or NFS
// server answers only after it has been restarted. So the calls in flight are
// bounded, 32 per image and 256 per pool; a caller whose context ends returns at
// once, and its call keeps its slot. The contents of more than 32 KiB that calls read
// have [Options.Memory] together, and a call keeps its part until it returns, too: where
// calls that were left behind hold too much of it, reads of such contents in any image
// fail at once with ErrImageUnavailable. An image with calls in flight hangs when neither
// a call nor a read within one has returned for [Options.HangAfter]: until one returns,
// reads in it fail at once with ErrImageUnavailable, or come from the table while there
// is one; but one read per HangAfter is tried. The log says so once for each image and
// outage; the metrics count images and
// reads. All this is of the image, however often it was closed and opened again meanwhile.
//
// Where only a part of a store does not answer, as when one of a thousand placement groups
// is inactive, each image has a few objects there. The calls that need them are left behind,
// one by one, and the others go on: a call that has been in flight for HangAfter is counted
// apart from the 256 of its pool, up to [Options.Calls] together, and does not make the image
// hang once a later call has returned. The bound of 32 includes it: an image of which so many
// reads hang is not read.
//
// # Speed
//
// Sizes are known before contents are read, from octet_length in a table or the
// length in an image: a caller admits a large object, or all objects of a
// batch, before they take memory. A length of 1 GiB or more in an image is damage: no
// writer stores such an object. A batch that is too large because of a smaller one is
// read without that object, see admitAll.
//
// Lookups that wait at the same moment go to PostgreSQL as one statement, see
// coalescer; alone, a lookup starts at once. Where the server cannot read a row or a page,
// only the lookups that need it fail, see apart. How many statements are in flight
// follows from what they achieve: few where the CPU is the limit, more where
// PostgreSQL waits for its disk, see depth. Images stay open, see images. The hash
// function of an image that is not open may come from [Options.Hashes]: what it leads
// to is believed only if it is the object, and another attempt reads the image itself.
package reader
