// SPDX-License-Identifier: GPL-3.0-or-later

// Package mapper makes the finished images readable on this host.
//
// [Mapper.Step] maps each image that is available (PACKED, CLEANING, READONLY) in
// the database and that this host has not recorded in the shard's row. An image
// that is mapped already is adopted. Before the host is recorded, the image must
// be readable through the mapping, and be the one that was packed: header and
// hash function with the fingerprint that was recorded, and a sample of objects
// with their SHA-256. The record matters: a cleaner counts it before it drops the
// shard's table.
//
// A step asks the database only for the shards that lack this host, so that it
// costs a query however many images there are. The first step of a process, one
// every [Options.CompareInterval], and one after a step that could not map a
// recorded image, compare all: the shards that have this host, with the images
// that each pool lists as mapped. An image that is recorded but no longer mapped,
// after a reboot or an unmap, is mapped again, and must have a header: one read, so
// that a host with many images is back soon. An image that is recorded and listed was
// read when it was recorded, and is not read again. While a pool cannot be listed, its
// images that this host has not recorded are mapped nevertheless.
//
// # A wrong mapping, a damaged image
//
// An image that does not read as it should through the mapping is read from the
// store itself, past the mapping. Where the store is right, this host is wrong:
// its mapping is old, or its memory is bad. The image is mapped again, the log
// says so, and if that does not help the host is not recorded. Only where the
// store is wrong, too, the shard is quarantined, for all hosts.
//
// A damaged image does not delay the others: its error is joined to those of the
// step, it is tried again in each later step, after all that did not fail, and its
// host is not recorded until it passes. It stays mapped, since all but a few of
// its objects may be good. A pool with [maxFailures] failures in one step is left
// alone until the next: then it is more likely the pool than the images.
//
// # Calls that hang
//
// Each call of a pool, to map an image, to read from it once or to list the images that
// are mapped, has a time limit, [Options.ImageTimeout]; the check of an image may take as
// long as its calls need. If a call into a kernel device or a library does not
// return within the limit, the step continues without it, reports it, and does
// not repeat the call while it hangs. A mapping is not cut off by the limit: the pool
// has a limit of its own for it, and a later step adopts it. With [maxHanging] such calls in a pool, of
// any step, no further image of the pool is begun until some return. Other pools
// continue.
//
// # Crash recovery
//
//	killed at                      left behind                next step, any process
//	before the map                 nothing                    maps
//	mapped, not checked            a mapping                  adopts, checks, records
//	checked, not recorded          a mapping                  adopts, checks, records
//	recorded                       mapping and record         nothing to do
//
// An image that has passed on this host is not checked again: nothing rests on that.
//
// An object that a cleaner is erasing reads as damaged; if the cleaner died, this
// lasts for any time. The index has the object marked by then, so a damaged
// object counts only if it is not marked. An index entry that is being tombstoned
// may be read half-written, so the check is repeated up to three times.
//
// # Images for packers that may not create them
//
// With [Options.ManageRWImages] the mapper also makes sure that an empty image
// exists for each shard that waits to be packed (STANDBY, WRITING, FULL), or that
// Python is packing (PACKING without a lease), whose packer may wait for the
// image without end; and, if the pool maps images, that the image is mapped
// writable on this host: when it first sees the shard, and whenever it compares
// all images. Once a packer of Go Winery has the shard (PACKING with a lease),
// the mapper removes that mapping: the packer commits no image that a host could
// still write to (package rbd).
package mapper
