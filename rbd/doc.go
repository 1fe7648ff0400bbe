// SPDX-License-Identifier: GPL-3.0-or-later

// Package rbd is a pool that keeps each image as a RADOS block device in Ceph.
// No other package imports go-ceph.
//
// # Images
//
// An image is named as its shard, in pool P, with its data in pool D (P-data
// unless configured). Its size is twice the shard's greatest size, rounded up to
// MiB; Create makes it larger for a shard that needs more. It has the features
// layering, exclusive-lock, object-map, fast-diff and deep-flatten, except those
// that the configuration calls unsupported; exclusive-lock is required, because
// it prevents two writers of one image.
//
// Images are written and erased through librbd (docs/adr/0004), with librbd's cache
// off: a write is on the OSDs when it returns. They are verified, and read where
// there is no kernel's driver, by reading the RADOS objects that hold their bytes,
// which takes a fraction of librbd's CPU: librbd only tells their names. An image
// with a parent or stripes, which Winery does not make, is read through librbd.
//
// The pool's marker is the RADOS object winery_marker in pool P.
//
// # Writers
//
// Create and Edit take the exclusive lock and keep it until the handle is
// closed: librbd never hands it over while its holder lives.
//
// Create takes it by force, at once, whether its holder is dead, stopped, or
// well and only without its row in the database. The holder's client is first
// fenced off from the whole Ceph for a week ("osd blocklist", which needs the
// monitors' cap "profile rbd"), and then the lock taken from it, so there is
// no moment in which it can write without the lock. All its calls give
// pool.ErrFenced from then on, also a Commit after its last write; the process
// must exit. Only then Create verifies the proof once more, and only then it
// touches a byte. Not fenced are
//   - a kernel that has the image mapped, which is known by the cookie of its
//     lock: its client is the host's, with all that is mapped there;
//   - a manual lock, by `rbd lock add`: pool.ErrInUse;
//   - this Pool itself: pool.ErrInUse.
//
// Edit answers pool.ErrInUse while the holder lives, which it checks by a message
// to the image's watchers. A dead or stopped holder loses its watch after half a
// minute, for which Edit waits; then it is blocklisted as by Create, for a week.
// librbd would take the lock, too, but blocklist the holder for an hour only.
//
// The exclusive lock stops others only as long as it is held. Any client that has
// the image open for writing, or mapped writable, could write to it afterwards:
// a packer of Python's, say, that stalled over a kernel's device. Such a client
// watches the image. Create and Commit wait 35 s for it to go and answer
// pool.ErrInUse, with its address, if it does not; Edit answers at once.
//
// An image that another program made without exclusive-lock gets the feature when it is
// first opened for writing.
//
// Until an image has its header, librbd has no lock for it. So Create holds a
// RADOS lock of its own, on the object winery_guard.NAME, while it makes or opens the
// image, and while it removes what an interrupted creation left (the one case
// in which it removes anything); Remove holds it, too, from before it verifies the
// claim until the image is gone. The holder of that is fenced in the same
// way. Else a process that stalled there could remove its successor's image.
//
// Create wipes an image that exists already. It discards the first bytes, where all
// formats have their header, and then the whole image, which removes every RADOS object
// that holds its bytes. If it dies meanwhile, the image has no header, like one that was
// never finished. It does not remove and create the image, because the id must stay for
// hosts that have mapped it (Reserve), and because no lock would exist between the two
// steps.
//
// A full pool, or one at its quota, answers writes with pool.ErrFull instead of
// the wait that is Ceph's default. Create asks `ceph df` first whether the data
// pool has the room that the shard needs, and counts what the image holds
// already as free. Abort discards what the draft has written.
//
// # Readers
//
// With MapMode "kernel" an image is mapped by `rbd device map`, read-only, and
// read through /dev/rbd/P/NAME, as the Python Winery does. udev's links and
// /sys/bus/rbd/devices say which images are mapped; nothing is cached. If the
// image id of a device differs from the id that Ceph has under the image's name,
// the image was removed and created again: the device does not count as a
// mapping, and Map replaces it. Two processes that map one image at the same
// moment may leave two devices; Unmap removes both. Where udev makes no link to
// the device, Map unmaps the image again, and fails.
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
// A Pool has one connection, made at the first use. Only a failed attempt to
// connect is repeated: librados keeps an established connection up, and a client
// that was blocklisted stays so. A second Pool in the process would be another
// client of Ceph, and not blocklisted; never create one after pool.ErrFenced.
// Ceph is found in the same way as by Ceph's tools: CEPH_CONF, else
// /etc/ceph/ceph.conf, and CEPH_ARGS; Settings.Conf and Settings.User win over
// both.
//
// Calls into librbd cannot be interrupted. Waiting for a connection ends with its
// context, or after 30 s; monitors that do not answer a command give an error
// after 30 s; reading and writing wait for an OSD as long as it takes, because a
// write that was cancelled may still take effect later.
package rbd
