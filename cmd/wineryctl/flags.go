// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst returns args in the order that urfave/cli v2 needs: the flags of the program, the names of the command, the
// flags of the command, and its arguments after --. Version 2 reads no flag after an argument, and a command does not
// accept the flags of the program; an operator may write both ("wineryctl put FILE --url ADDRESS").
func flagsFirst(app *cli.App, args []string) []string {
	var global, names, local, arguments []string
	command := &cli.Command{Subcommands: app.Commands}
	for rest := args[1:]; len(rest) > 0; rest = rest[1:] {
		arg := rest[0]
		if arg == "--" {
			arguments = append(arguments, rest[1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			if sub := command.Command(arg); sub != nil && len(arguments) == 0 {
				command, names = sub, append(names, arg)
			} else if len(command.Subcommands) > 0 { // no such command; its flags cannot be known
				return slices.Concat(args[:1], global, names, []string{"--"}, rest)
			} else {
				arguments = append(arguments, arg)
			}
			continue
		}
		words := rest[:1]
		to, flag := &local, find(command.Flags, arg)
		if flag == nil {
			if flag = find(app.Flags, arg); flag != nil {
				to = &global
			}
		}
		if flag != nil && flag.TakesValue() && !strings.Contains(arg, "=") {
			words = rest[:min(2, len(rest))]
		}
		*to = append(*to, words...)
		rest = rest[len(words)-1:]
	}
	if len(arguments) > 0 {
		arguments = append([]string{"--"}, arguments...)
	}
	return slices.Concat(args[:1], global, names, local, arguments)
}

// find returns the flag that arg gives, or nil.
func find(flags []cli.Flag, arg string) cli.DocGenerationFlag {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	for _, f := range flags {
		if doc, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
			return doc
		}
	}
	return nil
}
