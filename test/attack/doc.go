// SPDX-License-Identifier: GPL-3.0-or-later

// Package attack sends a writer what a hostile client may send, from another host,
// while a client of good will asks for small objects. It prints for each attack how
// much memory the writer took and how long the other client waited (make attack).
// It needs the programs in bin/ (make build) and PostgreSQL.
package attack
