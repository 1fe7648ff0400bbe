// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/doctor"
	"winery/internal/status"
	"winery/internal/storage"
)

var doctorCommand = &cli.Command{
	Name:  "doctor",
	Usage: "check what Winery needs of this host, the database and the pools",
	Description: "Run this command on each host before the roles start, with their configuration and as their user. It prints the problems\n" +
		"first, each with its cure, then a line for each other check, and changes nothing. The exit status is 0 if there is no\n" +
		"problem, 1 if there are problems, and 2 if a check could not be made.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "role", Usage: "check what `ROLE` needs: writer, packer, mapper or cleaner; may be repeated (default: all)"},
		&cli.DurationFlag{Name: "patience", Value: 10 * time.Second, Usage: "wait no longer than `TIME` for an answer"},
		outputFlag,
	},
	Before: noArguments,
	Action: runDoctor,
}

func runDoctor(c *cli.Context) error {
	roles := c.StringSlice("role")
	for _, role := range roles {
		if !slices.Contains(doctor.Roles, role) {
			return daemon.UsageError("--role: found %q, must be writer, packer, mapper or cleaner", role)
		}
	}
	if len(roles) == 0 {
		roles = doctor.Roles
	}
	cfg, base, err := configured(c)
	if err != nil {
		return err
	}
	defer base.Close()
	set := storage.OpenToReport(cfg.Pools) // not closed: that would wait for a store that hangs
	report := doctor.Run(c.Context, doctor.Subject{Config: cfg, Base: base, Pools: set, Roles: roles, Patience: c.Duration("patience")})
	if c.Context.Err() != nil {
		return c.Context.Err()
	}
	if asJSON(c) {
		err = printJSON(c.App.Writer, report)
	} else {
		err = printDoctor(c.App.Writer, report)
	}
	if err != nil {
		return err
	}
	problems := 0
	for _, r := range report.Checks {
		if r.State != doctor.OK {
			problems++
		}
	}
	switch report.Verdict {
	case status.Unknown:
		return daemon.UnknownError("checks that failed or could not be made: %d", problems)
	case status.Problems:
		return fmt.Errorf("problems found: %d", problems)
	default:
		return nil
	}
}

// printDoctor prints the problems first, each with its cure on a line of its own.
func printDoctor(w io.Writer, report doctor.Report) error {
	checks := slices.Clone(report.Checks)
	slices.SortStableFunc(checks, func(a, b doctor.Result) int { return well(a) - well(b) })
	return printTable(w, "STATE\tCHECK\tRESULT", func(row func(string, ...any)) {
		for _, r := range checks {
			name := strings.ReplaceAll(r.Check, "_", " ")
			if r.Pool != "" {
				name = "pool " + r.Pool + ": " + name
			}
			row("%s\t%s\t%s", r.State, name, r.What)
			if r.Cure != "" {
				row("\t\tcure: %s", r.Cure)
			}
		}
	})
}

// well is 0 for a problem and 1 for a check without one.
func well(r doctor.Result) int {
	if r.State == doctor.OK {
		return 1
	}
	return 0
}
