// SPDX-License-Identifier: GPL-3.0-or-later

// Command wineryctl is the operator's command line of Winery.
//
// Results are printed to stdout, everything else to stderr. The exit status is 0 if all was done, 1 if something failed,
// including a write to stdout, or if status or doctor finds problems, 2 if these two cannot tell, and 78 for wrong usage or
// configuration. SIGINT and SIGTERM stop a command; a second signal ends the process at once, with status 130 or 143. Flags
// may stand before or after arguments; every word after -- is an argument.
package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
)

func main() {
	os.Exit(run(os.Args))
}

func run(args []string) int {
	ctx, stop := daemon.UntilSignal(os.Stderr)
	defer stop()
	app := &cli.App{
		Name:        "wineryctl",
		Usage:       "set up, inspect, repair and use a Winery",
		Description: "Example:\n\n    wineryctl --config /etc/winery/winery.yml status",
		Flags:       append(daemon.Flags(), urlFlag, tokenFileFlag, caFlag),
		Before: func(c *cli.Context) error {
			c.Context = ctx
			return nil
		},
		Commands: []*cli.Command{statusCommand, doctorCommand, configCommand, dbCommand, cephCommand, poolCommand, shardsCommand, hostsCommand, objectsCommand, indexCommand, verifyCommand, putCommand, getCommand, deleteCommand, accessCommand, benchCommand},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return daemon.UnknownCommand(c)
			}
			return cli.ShowAppHelp(c)
		},
	}
	addExamples(app.Name, app.Commands)
	return daemon.Execute(app, flagsFirst(app, args))
}
