// SPDX-License-Identifier: GPL-3.0-or-later

// Package hashcache keeps the heads of images in files on a local disk: what
// [winery/format.Reader].CacheHead returns, hash function included. A reader that has
// 100,000 images and keeps 1,000 of them open then opens an image without reading its
// hash function.
//
// # Trust
//
// Nothing depends on the cache. A head may be damaged, cut off, or of an image that
// was replaced under the same name: format.ErrStaleHead tells, and the caller opens
// the image itself, which writes the head again. So files are not flushed to the disk,
// and have no checksum but that of format. A directory that cannot be written, or a
// full disk, makes misses, is logged once, and is counted.
//
// # Files
//
// The directory has a subdirectory heads-1, and this one a file pool@shard.head for
// each image; the number changes when the bytes of a head change their meaning. A file
// is written under another name, NUMBER.tmp, and renamed. Files with other endings are
// left alone.
//
// A host's mapper may be root and its writers another user: directory and files belong
// to the group that both have, and the group may write. [Cache.Put] is for the heads
// that readers need. [Cache.Fill] is for those that they may need later, and removes none.
//
// So any process of the group can put anything into the place of a file: what is not a
// regular file is never read, and replaced like a file that is damaged.
//
// Files are read with pread, not mapped into memory: a lookup reads two or three times,
// and an error of the disk is then an error, not a signal.
//
// # Size
//
// The time of a file's last change says when it was last used, to within an hour: so
// the order survives restarts, and several processes of a host can share a directory.
// When a process has written a sixteenth of the size, it lists the directory and
// removes the files that were not used for longest, until a sixteenth of the size is
// free. One process alone keeps within the size; each further one may exceed it by a
// sixteenth. A file that is removed while it is open takes its space until it is
// closed.
package hashcache
