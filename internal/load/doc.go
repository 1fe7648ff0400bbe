// SPDX-License-Identifier: GPL-3.0-or-later

// Package load is the work of many clients on a writer, as `wineryctl bench` and
// `make bench` measure it: objects that no store has yet, with the sizes and the
// compressibility of source code, and the latency of each request.
//
// The clients are real: each request goes over HTTP, each id is the SHA-256 of
// the content, and each content that is read is compared with its id.
package load
