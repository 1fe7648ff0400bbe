// SPDX-License-Identifier: GPL-3.0-or-later

// Package interop proves that this Winery and the one in Python can stand in
// for each other, by running both: the programs of bin/ as real processes, and
// the released packages, unmodified, by the interpreter that WINERY_PYTHON
// names (scripts/python-venv makes one).
//
// Each pairing that is proven logs a line that begins with "interop: " and has
// its counts; `make interop` prints these lines. docs/interop.md says what is
// tested, and what is excluded and why. Pairings that need only one package of Go
// Winery are in the tests of that package: images in shard, the schema and the
// locks in sharedbase, the encodings in internal/httpapi/rpc.
package interop
