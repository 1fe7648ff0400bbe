// SPDX-License-Identifier: GPL-3.0-or-later

// Package httpapi is what every HTTP request passes on its way to the API that
// answers it, and what the APIs share in front of a store.
//
// [Handler] gives each request an id (X-Request-Id), a line in the log under
// that id, a metric, and an answer also when the API panics. An answer that
// fails after it has begun is cut off, so that it never looks complete.
//
// # Memory
//
// Bodies of requests and contents of answers have a budget each ([Memory]),
// which all requests share. [ReadBody] charges a body as its bytes arrive, never
// by the length that was announced. Contents are charged before they are read,
// by their sizes, and until they are written. Bodies and contents of up to
// [Small] bytes are outside of the budgets, so that small requests are answered
// while the budgets are exhausted. A request that gets no memory within 5 s is
// answered with 503. A text that is sent to a client has at most 1,000 bytes,
// whatever it quotes. So a server takes at most both budgets ([LimitsFor]) and, for
// each of its connections, two times Small and net/http's buffers. A batch that does
// not fit into a budget is refused. A single object that does not is charged the whole
// budget: it must be possible however low the memory of the process is.
//
// One client gets at most half of a budget for several requests at a time; a single
// request may use all of it. A client is a name of the access file, or else a host.
//
// # Time
//
// No connection is without a deadline ([NewServer], [Limits]):
//
//	header            10 s
//	body              10 s without a byte; 30 s, and 1 s for each 256 KiB, of waiting for all of it
//	work              15 minutes; after the client has closed the connection 10 s, if the request changes nothing
//	answer            30 s without a byte; 30 s, and 1 s for each 256 KiB, of waiting for the client to take all of it
//	next request      2 minutes
//
// A client that closes its sending side after its request (half-close) still gets
// the answer. The server cannot distinguish that from a client that has
// disconnected, hence the 10 s. A request that changes the store is finished in
// any case. When a connection is opened beyond the limit of [NewServer], the one is
// closed that has waited longest for a request. One host has at most half of the
// connections: beyond that, one of its own is closed.
//
// # Errors
//
// [Describe] is the one place that turns an error into a status and a text. Where
// the server is at fault the text says what is unavailable or damaged and has
// the request's id; the error itself, which may name hosts, users, paths or SQL,
// is in the log under that id and nowhere else.
package httpapi
