// SPDX-License-Identifier: GPL-3.0-or-later

// Package importer makes shards of images that are in a pool and that the
// database does not know: images made elsewhere, or all images, after the
// database was lost.
//
// [Find] lists them. [Importer.Import] reads a whole image, every object and
// every key, and only then changes the database: the shard, readonly, and its
// index rows appear in one transaction (sharedbase.ImportShard). So a damaged
// image, or an import that is killed, leaves nothing behind, and the same call
// can simply be repeated.
//
// # What an image does not record
//
// After a loss of the database the images have all objects that were packed. They
// do not have
//
//   - the objects that were still in tables;
//   - the marks of objects that were deleted and not yet erased in the image:
//     these objects are present again;
//   - which of several images has an object, where more than one does: the one
//     imported first gets it. Any of them will do.
//
// The mappers record again which hosts have mapped an image.
//
// An image of which two pools have a copy, after a migration, is refused: the
// copy that is out of use may still have objects that were erased in the other.
// An unfinished image is no copy, and no failure: it was never in use.
//
// # A database that was restored from a backup
//
// [FindUnpacked] and [Importer.Adopt] are for the images that are newer than the database.
// [Importer.RemoveErased] is for objects that were erased since, and for readonly shards that
// were migrated: it comes first, so that an
// object that was erased in one image and stored again in another is found in the latter.
package importer
