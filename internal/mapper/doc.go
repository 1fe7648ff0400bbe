// SPDX-License-Identifier: GPL-3.0-or-later

// Package mapper makes the finished images readable on this host.
//
// [Mapper.Step] compares two listings: the shards whose image is available
// (PACKED, CLEANING, READONLY) in the database, and the images that each pool
// has mapped on this host. An image that is not mapped is mapped; one that is
// mapped, by whomever, is adopted. Before the host is recorded in the shard's
// row the image must read as a whole one through the mapping, the one that was
// packed: header and hash function with the fingerprint that was recorded, and a
// sample of objects with their SHA-256. One that does not is quarantined. The record matters: a
// cleaner counts it before it drops the shard's table.
//
// Nothing is kept between steps but the images that failed. A host in the
// shard's row and the image in the pool's listing mean that this mapping was
// read when it was recorded, so it is not read again, not even by a new
// process: a step that finds everything mapped costs one query and one listing
// a pool, however many images there are. An image that had to be mapped anew,
// after a reboot or because somebody unmapped it, is checked again.
//
// # One bad image
//
// It does not hold up the others: its error is joined to those of the step, it
// is tried again in each later step, after all that did not fail, and its host
// is not recorded until it passes. It stays mapped, since all but a few of its
// objects may be good. A pool with [maxFailures] failures in one step is left
// alone until the next: then it is more likely the pool than the images.
//
// Each image has a time limit, [Options.ImageTimeout]. A call into a kernel
// device or a library that does not come back even then is left behind with its
// thread, reported, and not begun anew for as long as it hangs.
//
// # Killed here, recovered how
//
//	at this point                  left behind                next step, any process
//	before the map                 nothing                    maps
//	mapped, not checked            a mapping                  adopts, checks, records
//	checked, not recorded          a mapping                  adopts, checks, records
//	recorded                       mapping and record         nothing to do
//
// One case is adopted unread: the host was recorded by an earlier mapping, and
// the mapper died between a new mapping and its check. The image has passed on
// this host before, and nothing rests on the second check.
//
// An object that a cleaner is erasing, or died over, reads as damaged for any
// time. The index has it marked by then, so that a damaged object counts only if
// it is not; and an index entry that is made void may be read half, so that there
// are three looks.
//
// # Images for packers that may not create them
//
// With [Options.ManageRWImages] the mapper also makes sure that an empty image
// exists for each shard that waits to be packed (STANDBY, WRITING, FULL). Not
// for one in PACKING: its packer has found its image, or will fail and leave
// the shard FULL.
package mapper
