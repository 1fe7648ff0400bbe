// SPDX-License-Identifier: GPL-3.0-or-later

// Package httpapi is what every HTTP request passes on its way to the API that
// answers it, and what the APIs share in front of a store.
//
// [Handler] gives each request an id (X-Request-Id), a line in the log under
// that id, a metric, and an answer also when the API panics. An answer that
// fails after it has begun is cut off, so that it never looks whole. Whoever
// takes an answer too slowly is cut off, too: each piece written has 30 s, and
// 1 s more for each MiB.
//
// [Bodies] reads bodies, once their length is known (Content-Length is
// required), within a limit, and covered by the memory for all bodies at once.
// A body's sender has as much time as a receiver.
package httpapi
