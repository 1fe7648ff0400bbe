// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange moves flags to where the library finds them: those of the whole program to the front, a command's own right
// behind its name, and -- before the other arguments.
func arrange(app *cli.App, args []string) []string {
	global, names, local, words := args[:min(len(args), 1):1], []string{}, []string{}, []string{}
	commands, flags := app.Commands, []cli.Flag(nil)
	for rest := args[len(global):]; len(rest) > 0; rest = rest[1:] {
		arg := rest[0]
		if arg == "--" {
			words = append(words, rest[1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			if i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(arg) }); i >= 0 && len(words) == 0 {
				names = append(names, arg)
				commands, flags = commands[i].Subcommands, commands[i].Flags
			} else {
				words = append(words, arg)
			}
			continue
		}
		to, flag := &local, find(flags, arg)
		if flag == nil {
			if flag = find(app.Flags, arg); flag != nil {
				to = &global
			}
		}
		*to = append(*to, arg)
		if takesValue(flag) && !strings.Contains(arg, "=") && len(rest) > 1 {
			rest = rest[1:]
			*to = append(*to, rest[0])
		}
	}
	if len(words) > 0 {
		words = append([]string{"--"}, words...)
	}
	return slices.Concat(global, names, local, words)
}

// find is the flag that arg names, or nil.
func find(flags []cli.Flag, arg string) cli.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return flags[i]
}

func takesValue(flag cli.Flag) bool {
	f, ok := flag.(cli.DocGenerationFlag)
	return ok && f.TakesValue()
}
