// SPDX-License-Identifier: GPL-3.0-or-later

// Package sharedbase is the heart of Winery: the shards and their states, the
// index of objects and the shards' tables, in PostgreSQL.
package sharedbase
