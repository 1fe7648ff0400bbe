// SPDX-License-Identifier: GPL-3.0-or-later

// Package model compares a real Winery with a model of it.
//
// # Random lives
//
// TestModel does random things to a Winery on real services: it adds, deletes,
// reads, fills, packs, maps, cleans, moves and imports, and has roles die or
// fail at any statement of SQL and at any operation of a pool. The model is the
// set of objects that are there. After each thing done, everything that can be
// read must agree with it: so packing, cleaning or dying may never change what
// is read. The content of an object is a function of its number.
//
// What fails is made smaller and shown with its seed; -rapid.seed=N repeats it.
// For a longer run: -rapid.checks=N lives of -rapid.steps=N things each.
//
// # Linearizability
//
// TestLinearizable has many clients add, read and delete a few objects through
// a real winery-writer, which is killed meanwhile, while the other daemons work.
// For each object there must be an order of the calls, each between its
// beginning and its end, that explains every answer.
package model
