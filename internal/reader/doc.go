// SPDX-License-Identifier: GPL-3.0-or-later

// Package reader reads objects, wherever they are just then.
//
// The index in PostgreSQL is asked first, each time: its row is what makes an
// object exist, and names the shard. The bytes come from the shard's image if
// the shard's state says that there is one and this host has mapped it, else
// from the shard's table. What is read is hashed before it is handed out
// (SHA-256, about 1 ns a byte), whether it came from an image or a table: a
// caller never gets wrong bytes.
//
// A shard moves on while it is read: its table is dropped, its image is mapped,
// an object is erased, or deleted and added again in another shard. So whatever
// was not found where the index said is looked up again, a few times; only what
// the index goes on promising is then an error, and never ErrNotFound:
//
//   - a shard without a table, whose image this host has not mapped:
//     an error that matches [pool.ErrNotMapped] and says what to do;
//   - an object that neither image nor table has, or that is damaged:
//     [*CorruptError].
//
// An image that fails is no reason to refuse an object whose table is still
// there.
//
// Lookups that wait at the same moment go to PostgreSQL as one statement, see
// coalescer; alone, a lookup starts at once. Images stay open, see images.
package reader
