// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var grantsCommand = &cli.Command{
	Name:  "grants",
	Usage: "print a script for psql that makes a database user for each role, with the rights that the role needs",
	Description: "Run the script as a superuser in Winery's database: `wineryctl db grants | psql DATABASE`. Run the script again, with the same\n" +
		"flags, after each upgrade of Winery: it grants what is missing, and revokes what is not needed any more. It changes nothing where the\n" +
		"user who owns the tables would lose all rights to them: name that user by --also. It sets no passwords. The command needs no\n" +
		"configuration.",
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "prefix", Value: "winery", Usage: "begin the names of all users with `NAME`: NAME_owner, NAME_writer, …"},
		&cli.IntFlag{Name: "min-mapped-hosts", Value: 1, Usage: "let no cleaner drop the table of a shard whose image fewer than `N` hosts have mapped"},
		&cli.StringFlag{Name: "also", Usage: "keep all rights of `USER`, such as the user of Python Winery, or the one that all roles had until now"},
	},
	Before: noArguments,
	Action: func(c *cli.Context) error {
		script, err := sharedbase.Grants(sharedbase.GrantOptions{
			Prefix: c.String("prefix"), MinMappedHosts: c.Int("min-mapped-hosts"), Also: c.String("also"),
		})
		if err != nil {
			return daemon.UsageError("--prefix: %w", err)
		}
		_, err = fmt.Fprint(c.App.Writer, script)
		return err
	},
}
