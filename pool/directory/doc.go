// SPDX-License-Identifier: GPL-3.0-or-later

// Package directory is a pool that keeps each image as a file,
// base_directory/pool_name/NAME.
//
// The pool's folder is made by Init alone, so that no daemon packs onto the disk
// below a mount point.
//
// # Marker
//
// The marker is base_directory/pool_name/.winery/marker. It is inside the pool's
// folder, so that it disappears when the file system is unmounted; and in a
// folder of its own, because Python Winery treats each file in the folder of the
// images as an image.
//
// # Modes
//
// With use_permissions the mode of a file is its state, as in Python Winery: 0600
// is mapped writable (reserved, or being written in place by a Python packer),
// 0400 is finished and mapped, 0000 is not mapped. Other modes count as mapped if
// no user may write, such as 0444. A file with a mode such as 0644 that this
// process cannot write is mapped, too: its mount is read-only, or it belongs to
// another user. Map removes the bits for writing, as far as that is needed.
// Python 7.4.1 counts 0000 as mapped, and then cannot read the file unless it
// runs as root; Go Winery maps it first. Without use_permissions modes have no
// meaning: a file under its final name is finished and mapped, and Unmap does
// nothing.
//
// # Links
//
// NAME may be a symbolic link to a file anywhere, as for Python: every call
// follows it. Create and Remove replace and remove the link alone. A directory,
// a device or a link to nothing is not an image.
//
// # Drafts
//
// A draft is NAME.<uuid>.tmp in the folder of the image, locked with flock(2)
// while its process lives; a draft whose lock can be taken is dead, and the next
// Create, of any image, removes it. Create first notes the file that exists under
// NAME, and then verifies the claim in the database: so the noted file cannot be
// a successor's image. Commit flushes the draft, makes it read-only, removes the
// noted file, and puts the draft in its place by link(2), which fails if another
// file appeared meanwhile: so of two drafts the first to commit wins, and an old
// holder cannot replace its successor's image. Until the link nothing is visible
// under NAME; a process that dies leaves either no image or a complete one.
//
// Edit and Remove lock the image's file with flock and then verify the claim; Commit
// locks the file that it replaces. None of them touches a file that, once locked, is no
// longer the one under NAME.
//
// # Verification
//
// Images and drafts that are opened to be verified, also mapped images (see
// [pool.WithoutCache]), are flushed and then read from the disk
// with O_DIRECT: the page cache may hold bytes that the disk does not have. Whole blocks
// of an image are written with O_DIRECT, too, so that a large image does not displace
// what this host reads. On a file
// system without O_DIRECT the kernel is advised to drop the file from the page cache
// (FADV_DONTNEED), which it may ignore, and the pool reports this once
// ([Settings].NoDirectIO).
//
// flock and link make this hold on local file systems and on NFS 4. There the kernel
// locks a file exclusively only if it is open for writing; so Commit, like Edit, changes
// for a moment the mode of a file that it could not open otherwise.
package directory
