// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"fmt"
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
	json, err := asJSON(c)
	if err != nil {
		return err
	}
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
	rows := []deletionRow{}
	err = base.Deletions(c.Context, since, ids, func(d sharedbase.Deletion) error {
		rows = append(rows, deletionRow{d.At, fmt.Sprintf("%x", d.ID), d.Client, d.Address, d.RequestID, d.TraceID, d.Role, d.Host})
		return nil
	})
	if err != nil {
		return err
	}
	if json {
		return printJSON(c.App.Writer, rows)
	}
	return printTable(c.App.Writer, "AT\tSHA256\tCLIENT\tFROM\tREQUEST\tTRACE", func(row func(string, ...any)) {
		for _, r := range rows {
			row("%s\t%s\t%s\t%s\t%s\t%s",
				r.At.Local().Format(time.DateTime), r.Object, cmp.Or(r.Client, "-"), cmp.Or(r.Address, "-"), cmp.Or(r.Request, "-"), cmp.Or(r.Trace, "-"))
		}
	})
}
