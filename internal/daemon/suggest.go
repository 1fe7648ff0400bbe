// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// UnknownCommand is the error for the first argument of c, which should be the name
// of a command.
func UnknownCommand(c *cli.Context) error {
	var names []string
	for _, command := range c.Command.Subcommands {
		names = append(names, command.Name)
	}
	name := c.Args().First()
	return UsageError("%s has no command %q%s; see --help", c.Command.Name, name, suggest(name, names))
}

// onUsageError makes the error for a command line that urfave/cli cannot parse.
func onUsageError(c *cli.Context, err error, _ bool) error {
	if name, found := strings.CutPrefix(err.Error(), "flag needs an argument: -"); found {
		return UsageError("option --%s needs a value; see --help", strings.TrimLeft(name, "-"))
	}
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return UsageError("%w; see --help", err)
	}
	var names []string
	for _, f := range slices.Concat(c.Command.VisibleFlags(), c.App.VisibleFlags()) {
		names = append(names, "--"+f.Names()[0])
	}
	name = "--" + strings.TrimLeft(name, "-")
	return UsageError("unknown option %s%s; see --help", name, suggest(name, names))
}

// suggest returns ` (did you mean "NAME"?)` for the known name that is most like name,
// or nothing if more than a third of it would have to change.
func suggest(name string, known []string) string {
	for limit := range len(name)/3 + 1 {
		for _, k := range known {
			if smetrics.WagnerFischer(name, k, 1, 1, 1) <= limit {
				return fmt.Sprintf(" (did you mean %q?)", k)
			}
		}
	}
	return ""
}
