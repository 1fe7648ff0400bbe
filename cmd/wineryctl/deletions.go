// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"winery/sharedbase"
)

var deletionsCommand = &cli.Command{
	Name:      "deletions",
	Usage:     "list who deleted objects, and when",
	ArgsUsage: "[SHA256…]",
	Description: "Every deletion through Go Winery is recorded in the transaction that deletes the object. Deletions by Python Winery are not recorded.\n" +
		"The columns CLIENT and TRACE are empty where the client did not authenticate, or sent no header traceparent.",
	Flags:  []cli.Flag{outputFlag, sinceFlag()},
	Action: objectsDeletions,
}

func sinceFlag() cli.Flag {
	since := duration(7 * 24 * time.Hour)
	return &cli.GenericFlag{Name: "since", Value: &since, Usage: "list the deletions of the last `TIME`, as in 48h or \"2 weeks\""}
}

// deletionRow is the printed line of a deletion.
type deletionRow struct {
	At      time.Time `json:"at"`
	Object  string    `json:"sha256"`
	Client  string    `json:"client"`
	Address string    `json:"address"`
	Request string    `json:"request_id"`
	Trace   string    `json:"trace_id"`
	Role    string    `json:"role"`
	Host    string    `json:"host"`
}

func objectsDeletions(c *cli.Context) error {
	ids, err := parseIDs(c.Args().Slice())
	if err != nil {
		return err
	}
	_, base, err := reading(c)
	if err != nil {
		return err
	}
	defer base.Close()
	since := time.Now().Add(-time.Duration(*c.Generic("since").(*duration)))
	return printDeletions(c.App.Writer, asJSON(c), func(found func(sharedbase.Deletion) error) error {
		return base.Deletions(c.Context, since, ids, found)
	})
}

// printDeletions prints the deletions that each calls found with, while it does so: there
// may be more than fit into memory.
func printDeletions(w io.Writer, json bool, each func(found func(sharedbase.Deletion) error) error) error {
	var listing, printing error
	if json {
		list := newJSONList(w)
		listing = each(func(d sharedbase.Deletion) error {
			list.add(deletionRow{d.At, fmt.Sprintf("%x", d.ID), d.Client, d.Address, d.RequestID, d.TraceID, d.Role, d.Host})
			return nil
		})
		printing = list.end()
	} else {
		printing = printTable(w, "AT\tSHA256\tCLIENT\tFROM\tREQUEST\tTRACE", func(row func(string, ...any)) {
			listing = each(func(d sharedbase.Deletion) error {
				row("%s\t%x\t%s\t%s\t%s\t%s",
					d.At.Local().Format(time.DateTime), d.ID, cmp.Or(d.Client, "-"), cmp.Or(d.Address, "-"), cmp.Or(d.RequestID, "-"), cmp.Or(d.TraceID, "-"))
				return nil
			})
		})
	}
	return errors.Join(listing, printing)
}
