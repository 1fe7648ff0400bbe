// SPDX-License-Identifier: GPL-3.0-or-later

// Package importer makes shards of images that are in a pool and that the
// database does not know: images made elsewhere, or all images, after the
// database was lost.
//
// [Find] lists them. [Importer.Import] reads all of an image, every object and
// every key, and only then tells the database: the shard, readonly, and its
// index rows appear in one transaction (sharedbase.ImportShard). So an image
// that is damaged, or an import that is killed, leaves nothing, and the same
// call made again begins anew.
//
// # What an image does not tell
//
// After a loss of the database the images give back all objects that were
// packed. They do not have
//
//   - the objects that were still in tables;
//   - the marks of objects that were deleted and not yet erased in the image:
//     these objects are present again;
//   - which of several images has an object, where more than one does: the one
//     imported first gets it. Any of them will do.
//
// Which hosts mapped an image the mappers record anew.
//
// An image of which two pools have a copy, after a migration, is refused: the
// copy that is out of use may still have objects that were erased in the other.
package importer
