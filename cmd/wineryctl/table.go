// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// printTable prints a line with the names of columns, and the rows that rows prints. Columns are separated by tabs.
func printTable(w io.Writer, columns string, rows func(row func(format string, args ...any))) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) {
		_, _ = fmt.Fprintf(table, format+"\n", args...) // an error comes back from Flush
	}
	row("%s", columns)
	rows(row)
	return table.Flush()
}
