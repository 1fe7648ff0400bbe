// SPDX-License-Identifier: GPL-3.0-or-later

//go:build manual

package daemon

import (
	"github.com/urfave/cli/v2"

	"winery/internal/manual"
)

// runCommandLine describes app, in the folder that is the last of args. A program
// built with the tag "manual" does nothing else (see package manual).
func runCommandLine(app *cli.App, args []string) error {
	return manual.Write(app, args[len(args)-1])
}
