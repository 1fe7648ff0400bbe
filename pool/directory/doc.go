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
// folder, so that it disappears with whatever is mounted there or above; and in a
// folder of its own, because Python Winery takes each file beside the images for
// an image.
//
// # Modes
//
// With use_permissions the mode of a file tells its state, as the Python
// Winery has it: 0600 is mapped writable (reserved, or being written in place
// by a Python packer), 0400 is finished and mapped, 0000 is not mapped. Of other
// modes those count as mapped that let nobody write, such as 0444. A file that a
// mode such as 0644 lets somebody write, and that this process cannot write, is
// mapped, too: its mount is read-only, or it belongs to another user. Map removes
// the bits for writing, as far as that is needed. Python 7.4.1 counts 0000 as
// mapped, and then cannot read it unless it is root's; here it has to be mapped.
// Without use_permissions modes mean nothing: a file under its final name is
// finished and mapped, and Unmap has nothing to undo.
//
// # Links
//
// NAME may be a symbolic link to a file anywhere, as for Python: every call
// follows it. Create and Remove replace and remove the link alone. A directory,
// a device or a link to nothing is not an image.
//
// # Drafts
//
// A draft is NAME.<uuid>.tmp beside the image, locked with flock(2) while its
// process lives; a draft whose lock can be taken is dead, and the next Create,
// of whatever image, removes it. Create looks at what lies under NAME, then
// asks the database whether the row is still its caller's: so what it saw is no
// successor's image. Commit flushes the file, makes it read-only, takes away
// what Create saw, and puts the file there by link(2), which fails where
// something else came meanwhile: so of two drafts the first to commit wins, and
// a process that was taken for dead cannot replace its successor's image. Until
// the link nothing is visible under NAME, and a death at any point leaves
// either that or a whole image.
//
// # Verification
//
// Images and drafts that are opened to be verified are flushed and then read from the disk
// with O_DIRECT: the page cache may hold bytes that the disk does not have. On a file
// system without O_DIRECT the page cache is asked to drop the file
// (FADV_DONTNEED), which it need not do, and the pool says so once
// ([Settings].NoDirectIO).
//
// flock and link make this hold on local file systems and on NFS 4.
package directory
