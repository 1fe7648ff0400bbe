// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
)

// pageRows is how many rows of a table have common widths of columns. They are kept in
// memory until then.
const pageRows = 1000

// printTable prints a line with the names of columns, and the rows that rows prints. Columns are separated by tabs.
func printTable(w io.Writer, columns string, rows func(row func(format string, args ...any))) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, columns) // an error comes back from Flush
	printed := 0
	var full error
	rows(func(format string, args ...any) {
		_, _ = fmt.Fprintf(table, format+"\n", args...)
		if printed++; printed%pageRows == 0 {
			full = cmp.Or(full, table.Flush())
		}
	})
	return cmp.Or(full, table.Flush())
}
