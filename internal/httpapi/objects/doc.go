// SPDX-License-Identifier: GPL-3.0-or-later

// Package objects serves a store of objects as plain HTTP, for curl, browsers and
// caches in front.
//
//	GET, HEAD /objects/{sha256}       the object; Range and conditions as in RFC 9110
//	PUT       /objects/{sha256}       201 once it is stored, 204 if it was there already
//	GET       /objects?after=&limit=  the ids of objects, a line each, in order
//
// {sha256} and after are 64 hex digits. An error is answered by a line of
// text that says what is wrong:
//
//	400  an id or a limit that is none
//	404  no such object, or no such address
//	405  another method; PUT where the server is read-only
//	408, 411, 413  a body that ends early, has no Content-Length, is too large
//	412, 416       conditions and ranges that cannot be met
//	422  the content's SHA-256 is not that of the address, in any configuration
//	500  damaged or unreachable; the log has it under the X-Request-Id
//	503  the database or the memory for bodies is not available now; with Retry-After
//
// # Caches
//
// An object's content never changes: its ETag is its id, and caches may keep it
// for a year without asking ("immutable"). What is deleted here stays in them
// until then, or until it is purged there. Whoever asks again with
// If-None-Match is answered from the index alone, 304 or 404. Errors and lists
// are not to be kept (no-store).
//
// # Lists
//
// A list has the ids after the given one, up to limit (default 1,000, at most
// 1,000,000). It is read from the index in pages as fast as the client takes
// it, and no transaction holds it together: an object that is added or deleted
// meanwhile may or may not be in it, all others are, once. As many lines as
// limit means that there may be more, after the last one; the trailer Link says
// so too (rel="next"). A list that fails midway ends in a broken connection,
// never in what looks like a whole list.
package objects
