// SPDX-License-Identifier: GPL-3.0-or-later

// Package writer is the winery-writer role: the store behind the HTTP API, the
// sockets in front of it, and their order at start and end.
//
// It listens once a shard is held, so that what is accepted can be stored. It
// shuts down in steps, each with a limit: no new connections; requests under
// way are answered; what was accepted is committed and the shards go back to
// standby; only then are the readers' images closed. A request that is still
// under way after that loses its connection.
//
// A server does nothing of itself, so its sign of life for the watchdog is an
// answer to a request that it sends itself, through its own socket.
package writer
