// SPDX-License-Identifier: GPL-3.0-or-later

// Package rpc serves a store of objects over HTTP, as the RPC clients of Software Heritage's object storages expect it
// (Python's RemoteObjStorage among them, unchanged). Package wire has the encoding.
//
// # Endpoints
//
//	GET  /                      a line of text that names the server
//	POST /check_config          check_write            true; false for check_write on a read-only server
//	POST /content/contains      obj_id                 whether the object is there
//	POST /content/add           content, obj_id        null
//	POST /content/add/batch     contents               {"object:add": N, "object:add:bytes": N}: what was new
//	POST /content/get           obj_id                 the bytes
//	POST /content/get/batch     obj_ids                a list of bytes, null for what is missing or damaged
//	POST /content/check         obj_id                 null, once every hash in obj_id was compared with the content
//	POST /content/delete        obj_id                 true
//	POST /content/download_url  obj_id                 null: there are no URLs to download from
//
// The adding endpoints also take check_presence, which changes nothing: an object that is there is never stored again.
// A request's Content-Type says how it is encoded; the answer is msgpack where Accept prefers it, else JSON.
//
// # Errors
//
//	400 Error                    a request that is malformed, or content that is not what its sha256 says
//	400 KeyError                 an obj_id without sha256
//	400 ObjNotFoundError         the args hold the obj_id as it was sent
//	400 ObjCorruptedError        the stored object is damaged, or is not what obj_id says
//	400 ReadOnlyObjStorageError  a change asked of a read-only server
//	403 PermissionError          a deletion where deleting is off
//	404, 405, 408, 411, 413, 415 Error
//	503 ObjStorageAPIError       something is unavailable, as the message says; with Retry-After
//	500 ObjStorageAPIError       anything else
//
// Messages of 503 and 500, and of damaged objects, have the request's id (X-Request-Id), under which the log has the
// cause; see [httpapi.Describe]. 429 is never answered: Python's client does not retry it.
//
// A batch is not failed by one object: what is damaged is null like what is missing, and the log has it. What is
// unavailable fails the batch, as null would say that it is missing.
//
// # Bounds
//
// A body is read within the endpoint's limit, into one buffer, of which contents are slices; see [httpapi.ReadBody].
// The sizes of all objects of a batch are looked up before any object is read: their sum is charged to the memory for
// answers, and is at most [Options.MaxBatchBytes]. A batch that takes more than the whole memory for bodies, or for
// answers, is refused with 413, as it would be in memory nevertheless. One object of [Options.MaxObjectSize] is always
// taken and given, alone or in a batch, however little memory there is.
package rpc
