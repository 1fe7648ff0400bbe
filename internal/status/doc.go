// SPDX-License-Identifier: GPL-3.0-or-later

// Package status reports which processes run and what is wrong: it reads the state of
// a fleet, and judges it.
//
// Read asks the database in a fixed number of statements, whatever the number of
// shards, and each configured pool for its marker, side by side. What does not
// answer stays in the report, with its error, and the rest is judged without it.
//
// A problem has a code, which never changes its meaning and is never used again, and
// a cure: a command to run. docs/operations.md lists the codes.
package status
