// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !manual

package daemon

import "github.com/urfave/cli/v2"

// runCommandLine does what the command line args asks of app.
func runCommandLine(app *cli.App, args []string) error { return app.Run(args) }
