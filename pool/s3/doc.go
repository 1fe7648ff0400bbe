// SPDX-License-Identifier: GPL-3.0-or-later

// Package s3 is a pool that keeps each image as an object in a bucket of Amazon S3 or
// of a store with its interface. No other package imports the AWS SDK.
//
// # Objects
//
// An image is s3://BUCKET/PREFIX/POOL_NAME/NAME followed by the image_extension, as in
// Python Winery. What is no image begins with PREFIX/.winery/POOL_NAME/, which Python's
// listing does not see: the marker, and objects of trials, which exist for a moment.
// Every image that exists is finished, and counts as mapped on every host: Map looks
// whether it is there, Reserve makes nothing, and Unmap forgets what this host has
// cached of the image.
//
// # What is not assumed of a store
//
//   - Rename: there is none. An image gets its name in the request that completes its
//     upload.
//   - Exclusive create and locks: a store may ignore a condition that it does not know.
//     So a Pool tries, before its first upload, which conditions the store honours.
//   - Order of a listing, and its size: List reads all pages and sorts.
//   - That the ETag is an MD5: it is compared for equality only.
//   - Checksums that Amazon added in 2022, versions, and conditional deletes.
//   - That what was sent is what was stored: it is read back.
//   - That one answer has the right bytes: what replaces an image was read twice.
//   - That an error means that nothing was done: the answer may have been lost.
//   - A directory, an empty object in its place, and free space that could be asked for.
//
// # What is relied on
//
//   - An object is replaced whole: a request for a range with If-Match gets bytes of the
//     version with that ETag, or the error 412.
//   - What was written, replaced or removed with success is read so by the next request,
//     and is durable. Amazon S3 does this since December 2020.
//   - Content-MD5 is verified by the store, or is at least no error.
//   - Metadata of an object stays as it was uploaded.
//
// # Drafts
//
// A draft is a file in tmp_directory/POOL_NAME (package draftfile); Python Winery takes
// other files there for images. Create notes the object that exists under the name, and
// then verifies the claim: so the noted object cannot be a successor's image. Open opens
// the file, since an upload that is not complete cannot be read.
//
// Commit verifies the proof, ends uploads of the same image that others have begun,
// uploads the file in parts, each with its MD5, verifies the proof again, and completes
// the upload under a condition: If-None-Match: * where there was no object, If-Match
// with the noted ETag where there was one. So of two drafts the first to commit wins,
// the other gets ErrExists, and one whose upload was ended gets ErrFenced. Then Commit
// reads the whole object back and compares it with what it sent of the file, which the
// caller has verified; only then it returns nil. If the store returns other bytes, the file is
// uploaded once more. An image that was not found to be right is removed by Abort, if
// the claim still holds; until then no database refers to it.
//
// Every upload has an identifier of its own in its metadata, winery-version. When
// the answer to the completion is an error, or was lost, the identifier of the object
// says whether this upload won.
//
// Where the store does not honour the condition, the object is looked up just before
// the upload is completed, and just after. Between the two lies a moment in which a
// process that stalls can replace the image of its successor, after its lease of a
// minute has expired. Both images are made of the same table, or the same image; an
// object that was erased in between would be in it again, which the scrub finds.
//
// An upload that a dead process left takes up space in the bucket, and is not visible.
// Create and Commit of the same image end it. A rule of the bucket for incomplete
// uploads (AbortIncompleteMultipartUpload) ends those of images that are never made
// again, such as the copies of a migration that was given up; its limit must be longer
// than an upload takes.
//
// # Erasing
//
// An editor works on a copy in tmp_directory, which the first WriteAt makes from the
// version that was opened. Its Commit publishes the copy as a draft's does, in place of
// the version that was opened and no other: a concurrent eraser gets ErrInUse, and
// starts again from the new version. At every moment the image is the old object or the
// new one.
//
// The copy alone proves nothing: the store may have returned a wrong byte, or the disk
// may have changed one. So Commit reads the version that was opened a second time, and
// compares each part with the copy before it uploads the part, but for the ranges that
// were written. An image that was damaged before can be erased in, and repaired: only the
// copy must be equal. What was read back after the upload is compared with the sums of
// these parts, and not with the file. What was written is for the caller to verify.
//
// Before the upload is completed the copy gets a second name in tmp_directory,
// NAME.ETAG.rescued, with the ETag of the version that it replaces, and loses it when the
// new object was read back. So it stays, as it may be the only right copy, if the process
// dies, if the store returns other bytes, and if it is not known whether the store
// completed the upload: only a refusal, status 4xx, says that it did not. The error names
// the file. The next Edit of the image on this host ends incomplete uploads, and then
// removes the file if the store has the version with that ETag still, or the same bytes
// as the file. Else it fails, changes nothing, and names the file again: a person decides.
// Where the store returned other bytes, the error is also a [format.DamageError]: the
// shard is to be quarantined, so that no other host changes the image.
//
// In a bucket that keeps versions the old versions have what was erased. Commit removes
// them, and so does the next Commit after one that was interrupted; Remove and Abort
// remove all versions. Each lists the versions first, removes only what it listed, and
// nothing if another process has made a newer one. Commit asks for the list also before
// it uploads anything, so that a missing right to list is an error while the image is
// unchanged.
//
// Readers of the old version are not disturbed: their next request gets 412, and they
// continue with the new version, in which all objects are where they were.
//
// # Reading
//
// An open image has the ETag and the size; each ReadAt is one request for a range. A
// body that is cut short is resumed where it ended. Images opened with Open are read
// ahead in chunks of 4 MiB, 64 MiB at most, where they are read in sequence. What
// readers read of mapped images is kept in a cache on local disk (package blockcache),
// if there is one, by image, ETag and block: a second read sends no request. Reads of
// more than 1 MiB pass it by. A cached block may have an object that was erased since;
// readers ask the index first. It may also have a wrong byte, from an answer of the store
// or of a proxy: a reader that finds wrong bytes opens the image again with
// [pool.WithoutCache], which forgets what is cached of the image.
//
// # A store in trouble
//
// A request is repeated, after 0.2 s at first and up to 15 s, while the store answers
// 500, 503 or 429, refuses connections, resets them, or sends nothing for a minute, for
// as long as [Settings].Patience, and for readers ReadPatience. After that the error is
// ErrUnavailable. Errors that do not pass are not repeated, and name the cure: wrong
// credentials, a missing right, a wrong region, a missing bucket, a quota (ErrFull).
// The SDK corrects the time of its signatures by the store's clock; a store that still
// refuses them gives the cure to set the clock.
package s3
