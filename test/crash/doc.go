// SPDX-License-Identifier: GPL-3.0-or-later

// Package crash takes each step of each role in a process that is killed, or
// stopped, at every point between two operations on the database and the pool;
// and proves that other processes continue from there without an operator, that
// no object is lost, and that no deleted object reappears.
package crash
