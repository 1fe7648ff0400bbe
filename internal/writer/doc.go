// SPDX-License-Identifier: GPL-3.0-or-later

// Package writer is the winery-writer role: the store behind the HTTP APIs, the
// sockets in front of it, and the order of its start and its end.
//
// # Start
//
// The writer listens first: where the address is taken it fails at once, and
// touches neither database nor shards. Then it opens the database and the pools;
// until that is done each request is answered with 503. From then on it reads,
// and is ready. It claims a shard in the background: reads need no claim, and
// continue where no shard can be claimed because the database's disk is full or
// the database is a standby. Adds wait for the claim, as they do for a lane that
// is busy.
//
// # Socket activation
//
// Sockets that the service manager passes are used instead of winery.listen. They
// need the same protection. Connections wait in them while no writer runs, so that a
// restart refuses none. No request fails, either: requests that come while the writer
// starts wait up to 30 s before they get 503, which they get at once where it cannot
// start; and a writer that ends answers further requests by open connections for up to
// 5 s, and closes each connection with its answer. It accepts new ones until the older ones
// have ended, and then gives those 5 s for a request.
//
// # End
//
// The writer shuts down in steps, each with a limit:
//
//  1. It accepts no new connections, and answers the requests in flight: 20 s.
//  2. It commits what was accepted, and releases its shards to standby: 20 s, and
//     20 s for a commit that was begun then, and a release.
//  3. It ends the requests that are still in flight: 5 s. Their connections are
//     closed.
//  4. It closes the images: 10 s for those that hang. The last heartbeat takes up to
//     3 s, and reports to Sentry 2 s.
//
// So it has ended after 80 s, or 90 with a passed socket, also where database and images
// are unavailable. A shard that could not be released stays locked until its lease ends.
// The shutdown is reported as a task with that limit, so that a shorter
// winery.stall_limit does not cut it off.
//
// # Sign of life
//
// Clients drive a server's work, so the sign of life for the watchdog is an
// answer to a request that the writer sends to itself, through its own socket. The
// connection does not count for the limit of connections.
package writer
