// SPDX-License-Identifier: GPL-3.0-or-later

// Package manual writes the man page of a program, and its completions for bash,
// zsh and fish, from the definition of its command line.
//
// No installed program contains this package: "make manual" builds the programs
// with the tag "manual", and each then writes its files and does nothing else (see
// internal/daemon).
//
// The completions never run the program. Those of urfave/cli for bash and zsh run
// the line that is being typed, with one more argument, at each press of TAB: with
// "wineryctl delete -- SHA256" or "$(command)" in the line, that does harm.
package manual

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/urfave/cli/v2"
)

// section is that of the manual for system administration.
const section = 8

//go:embed man.md
var page string

//go:embed completions
var files embed.FS

// Write writes the files of app into the folder dir: NAME.8, NAME.bash, NAME.zsh
// and NAME.fish. The man page has the date of SOURCE_DATE_EPOCH.
func Write(app *cli.App, dir string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	app.Setup() // adds --help and --version
	setPaths(app.Commands, app.Name)
	text, err := manPage(app, time.Unix(seconds, 0))
	if err != nil {
		return err
	}
	if err = write(dir, app.Name+".8", text); err != nil {
		return err
	}
	program := completed(app)
	completions := template.Must(template.New("").Funcs(quoting).ParseFS(files, "completions/*"))
	for _, shell := range completions.Templates() {
		var text bytes.Buffer
		if err := shell.Execute(&text, program); err != nil {
			return err
		}
		if err := write(dir, app.Name+"."+shell.Name(), text.String()); err != nil {
			return err
		}
	}
	return nil
}

func write(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) //nolint:gosec // every user may read them
}

// setPaths sets the HelpName of each command to all words that name it, as urfave/cli
// does only while it runs a command: "wineryctl db init".
func setPaths(commands []*cli.Command, path string) {
	for _, c := range commands {
		c.HelpName = path + " " + c.Name
		setPaths(c.Subcommands, c.HelpName)
	}
}

// manPage returns the man page of app, by the template man.md.
func manPage(app *cli.App, date time.Time) (string, error) {
	cli.MarkdownDocTemplate = page
	cli.FlagStringer = definition(cli.FlagStringer)
	app.Metadata = map[string]any{
		"title": strings.ToUpper(app.Name), "date": date.UTC().Format(time.DateOnly), "description": app.Description,
	}
	return app.ToManWithSection(section)
}

// definition makes flags entries of a Markdown definition list, of what --help
// prints for them.
func definition(help cli.FlagStringFunc) cli.FlagStringFunc {
	return func(f cli.Flag) string {
		names, usage, _ := strings.Cut(help(f), "\t")
		names, _, _ = strings.Cut(names, " [") // "repeat for several" is in the usage
		return "**" + names + "**\n: " + usage + "\n"
	}
}
