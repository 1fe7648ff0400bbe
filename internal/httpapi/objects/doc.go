// SPDX-License-Identifier: GPL-3.0-or-later

// Package objects serves a store of objects as plain HTTP, for curl, browsers and
// caches in front.
//
//	GET, HEAD /objects/{sha256}       the object; Range and conditions as in RFC 9110
//	PUT       /objects/{sha256}       201 once it is stored, 204 if it existed; conditions, too
//	GET, HEAD /objects?after=&limit=  the ids of objects, a line each, in order
//
// {sha256} and after are 64 hex digits. An error is answered by a line of
// text that says what is wrong:
//
//	400  an id, a limit or a query that cannot be understood
//	404  no such object, or no such address
//	405  another method; PUT where the server is read-only
//	408, 411, 413  a body that ends early, has no Content-Length, is too large
//	412, 416       conditions and ranges that cannot be met
//	422  the content's SHA-256 is not that of the address, in any configuration
//	426  a list by HTTP/1.0, in which a list that fails midway would look whole
//	500  damaged, or an internal error; the log has the cause under the X-Request-Id
//	503  something is unavailable, as the text says; with Retry-After
//
// # Ranges and conditions
//
// Units other than bytes, and ranges that cannot be understood, are ignored, as
// are ranges of an empty object, of a HEAD, more than 16 of them, and ranges
// that are more than the object together. Entity tags are compared as RFC 9110 says: weakly for
// If-None-Match, strongly for If-Match and If-Range. An object has no date, so
// that conditions on dates are ignored.
//
// To verify a part of an object, the whole object must be read. So an object of
// which a part was requested stays in memory, shared by all requests for its
// parts, until other answers need the memory. Each request queries the index.
//
// # Caches
//
// An object's content never changes: its ETag is its id, and caches may keep it
// for a year without asking ("immutable"); a cache that clients share, only what needs
// no token or certificate ("private" otherwise). What is deleted here stays in them
// until then, or until it is purged there. A client that asks again with
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
