// SPDX-License-Identifier: GPL-3.0-or-later

// Package format says what Winery needs of a format of shard images: how objects
// and their index become the bytes of an image, and how they are read, verified,
// erased and restored there. A format knows an image only as an io.ReaderAt or a
// [Device]; where the bytes lie is the matter of a pool. Which format the images of
// a pool have is a property of the pool (pool.Pool.Format).
//
// Package shard is the format SWHShard, package mosaic the format Mosaic. Package
// format/formattest holds the tests that every format must pass.
//
// # Conventions
//
// A method that takes a context returns the context's error soon after the
// context ended, and leaves the state that the method's comment allows. For a
// damaged image methods return a [*DamageError], and never wrong objects without
// an error unless their comment says so; errors of the device are wrapped.
// Methods that change an image may be called again after any error, and complete
// the change. They are for one caller at a time; readers may continue meanwhile.
package format
