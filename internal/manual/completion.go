// SPDX-License-Identifier: GPL-3.0-or-later

package manual

import (
	"slices"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
)

// program is what the templates of completions are given.
type program struct {
	Name     string
	Function string  // Name as part of the name of a shell function
	Places   []place // the program itself first
}

// place is a program or a command: what may follow its words on a command line.
type place struct {
	Path     string // all words: "wineryctl db init"
	Commands []candidate
	Options  []candidate
}

// candidate is a command or an option.
type candidate struct {
	Name       string // an option with its dashes
	Usage      string
	TakesValue bool
}

// completed returns what may be completed on a command line of app.
func completed(app *cli.App) program {
	p := program{Name: app.Name, Function: "_" + strings.ReplaceAll(app.Name, "-", "_")}
	global := options(app.VisibleFlags())
	var add func(path string, commands []*cli.Command, own []candidate)
	add = func(path string, commands []*cli.Command, own []candidate) {
		at := place{Path: path, Options: own}
		for _, c := range commands {
			at.Commands = append(at.Commands, candidate{Name: c.Name, Usage: c.Usage})
		}
		p.Places = append(p.Places, at)
		for _, c := range commands {
			add(c.HelpName, c.Subcommands, merge(options(c.VisibleFlags()), global))
		}
	}
	add(app.Name, app.VisibleCommands(), global)
	return p
}

// Values returns the options of p that take a value.
func (p program) Values() (names []string) {
	seen := map[string]bool{}
	for _, at := range p.Places {
		for _, o := range at.Options {
			if o.TakesValue && !seen[o.Name] {
				seen[o.Name] = true
				names = append(names, o.Name)
			}
		}
	}
	return names
}

// options returns each name of each flag.
func options(flags []cli.Flag) (candidates []candidate) {
	for _, f := range flags {
		f, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		usage := strings.ReplaceAll(f.GetUsage(), "`", "") // they mark the name of the value
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			candidates = append(candidates, candidate{Name: dashes + name, Usage: usage, TakesValue: f.TakesValue()})
		}
	}
	return candidates
}

// merge returns own, and those of global whose names own does not have.
func merge(own, global []candidate) []candidate {
	for _, g := range global {
		if !slices.ContainsFunc(own, func(c candidate) bool { return c.Name == g.Name }) {
			own = append(own, g)
		}
	}
	return own
}

// quoting are the functions of the templates: each makes text one word of a shell.
var quoting = template.FuncMap{
	"quote":    func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" },
	"fish":     func(text string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'" },
	"dashless": func(name string) string { return strings.TrimLeft(name, "-") },
}
