// SPDX-License-Identifier: GPL-3.0-or-later

// Package rbd is a pool that keeps each image as a RADOS block device in Ceph.
// No other package imports go-ceph.
//
// # Images
//
// An image is named as its shard, in pool P, with its data in pool D (P-data
// unless configured). Its size is twice the shard's greatest size, rounded up
// to MiB; it never changes. It has the features layering, exclusive-lock,
// object-map, fast-diff and deep-flatten, less those that the configuration
// calls unsupported; exclusive-lock cannot be left out, since it is what keeps
// two writers apart.
//
// Images are written, erased and verified through librbd (docs/adr/0004), with
// librbd's cache off: a write is on the OSDs when it returns, a read comes from
// them.
//
// # Writers
//
// Create and Edit take the exclusive lock and keep it until the handle is
// closed: librbd never hands it over while its holder lives. A live holder
// makes a second Create or Edit fail at once with pool.ErrInUse. A dead one is
// noticed by its missing watch: taking over then lasts about 30 s, and shuts
// the dead client out of the whole Ceph, so that if it was only stopped it gets
// pool.ErrFenced. It is shut out for as long as the monitors'
// mon_osd_blocklist_default_expire says, an hour by default; after that Ceph
// fences it no more, and only the database does. A process that gets ErrFenced
// must exit.
//
// Create first wipes an image that exists already. It discards all of it, which
// removes every object that holds its bytes. The image is not removed and made
// anew, because its id must stay for hosts that have it mapped (Reserve), and
// because between the two steps nobody would hold a lock.
//
// A full pool, or one at its quota, answers writes with pool.ErrFull instead of
// the wait that is Ceph's default.
//
// # Readers
//
// With MapMode "kernel" an image is mapped by `rbd device map`, read-only, and
// read through /dev/rbd/P/NAME, as the Python Winery does. What is mapped is
// what udev's links and /sys/bus/rbd/devices say; nothing is remembered. Two processes
// that map one image at the same moment may leave two devices; Unmap removes
// both.
//
// With MapMode "librbd" there is nothing to map: an image counts as mapped if it
// exists, Map checks that it opens, Unmap does nothing, and readers open the
// image themselves, without the kernel's driver and without root.
//
// Read-only handles and read-only mappings take no lock and leave no trace in
// Ceph: only the database knows that an image is needed.
//
// # Connection
//
// A Pool has one connection, made when it is first needed and made anew only
// if it could not be made: once up, librados keeps it up. Ceph is found
// as Ceph's own tools find it: CEPH_CONF, else /etc/ceph/ceph.conf, and
// CEPH_ARGS; Settings.Conf and Settings.User win over both.
//
// Calls into librbd cannot be interrupted. Waiting for a connection ends with
// its context, or after 30 s; monitors that do not answer a command give an
// error after 30 s; reading and writing wait for an OSD as long as it takes,
// because a write that was given up may still land later.
package rbd
