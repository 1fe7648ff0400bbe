// SPDX-License-Identifier: GPL-3.0-or-later

// Package wire is the encoding of Winery's HTTP API, shared by its server and its Go client. It is the encoding
// of the RPC layer that Software Heritage's Python clients use, so that they work unchanged.
//
// # Requests
//
// A request is one map of the endpoint's arguments, in msgpack (application/x-msgpack) or JSON
// (application/json). [Request] holds the arguments of every endpoint; unknown names are skipped, because a
// newer client may send more. An object id is a map from the names of hashes (sha1, sha1_git, sha256,
// blake2s256) to their bytes; Winery uses sha256 only, and returns the map unchanged in errors.
//
// # Bytes
//
// msgpack has bytes of its own (the bin family). JSON writes them as {"swhtype": "bytes", "d": TEXT} with the
// base 85 of RFC 1924 (alphabet and order as in Python's base64.b85encode).
//
// # Answers
//
// null, a boolean, bytes, a list of bytes and nulls, or the summary {"object:add": N, "object:add:bytes": N}. An
// error is the map {type, module, args, message, traceback}, from which Python's client makes the exception
// TYPE(*ARGS) again if it knows the type; traceback is empty.
//
// # Bounds
//
// Decoding allocates in proportion to what was really received, never to a length that was only announced;
// contents are slices of the body, not copies (except in JSON). Values that are skipped may nest without limit
// in msgpack and up to 10,000 deep in JSON without using the stack. A batch has at most [MaxBatch] entries, and
// a name at most 128 bytes.
package wire
