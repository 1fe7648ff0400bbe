// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
)

// version is set by the linker: -ldflags "-X winery/internal/daemon.version=1.2.3".
var version string

// Version returns the version that the linker set, or else the one that Go recorded.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// Run is the main function of a role: it parses the command line with Flags and
// flags, loads the configuration, calls run, and ends the process with the
// status that the package comment documents. --help prints usage.
func Run(name, usage string, flags []cli.Flag, run func(context.Context, *Env) error) {
	surviveClosedPipes()
	app := &cli.App{Name: name, Usage: usage, Description: "Example:\n\n    " + name + " --config /etc/winery/winery.yml", Flags: roleFlags(name, flags), Action: role(run)}
	os.Exit(Execute(app, os.Args))
}

func roleFlags(name string, own []cli.Flag) []cli.Flag {
	return slices.Concat(Flags(), []cli.Flag{logLevelFileFlag}, telemetryFlags(name), own)
}

// Execute runs app with args, the program's name first, and returns the exit
// status. Every error that is not logged already is printed to app.ErrWriter: as
// text, or with --output json as {"error": TEXT, "status": NUMBER} on one line.
func Execute(app *cli.App, args []string) (status int) {
	app.Version = Version()
	app.HideHelpCommand = true
	unsetEmptyVariables(app.Flags)
	out := &checkedWriter{w: os.Stdout}
	app.Writer = out
	app.ExitErrHandler = func(*cli.Context, error) {} // statuses are decided here
	app.OnUsageError = onUsageError
	forEachCommand(app.Commands, func(c *cli.Command) { // urfave/cli v2 passes neither on to commands
		c.OnUsageError, c.HideHelpCommand = onUsageError, true
	})
	if app.ErrWriter == nil {
		app.ErrWriter = os.Stderr
	}
	err := out.close(guard(func() error { return runCommandLine(app, args) }))
	status = exitStatus(err)
	if err != nil && !errors.As(err, new(*loggedError)) {
		printError(app, args, err, status)
	}
	return status
}

// printError prints the error of a command line, as JSON where that asks for it.
func printError(app *cli.App, args []string, err error, status int) {
	for i, arg := range args {
		if arg == "--output=json" || arg == "--output" && i+1 < len(args) && args[i+1] == "json" {
			_ = json.NewEncoder(app.ErrWriter).Encode(map[string]any{"error": err.Error(), "status": status})
			return
		}
	}
	_, _ = fmt.Fprintf(app.ErrWriter, "%s: %v\n", app.Name, err)
}

// The exit statuses that the package comment documents.
const (
	statusFailed  = 1
	statusUnknown = 2
	statusConfig  = 78  // EX_CONFIG of sysexits.h
	statusSignal  = 128 // plus the signal's number, as a shell has it
)

func exitStatus(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(*usageError)), errors.As(err, new(*config.Error)):
		return statusConfig
	case errors.As(err, new(*unknownError)):
		return statusUnknown
	case errors.As(err, new(*exec.ExitError)): // of a command; it is a cli.ExitCoder, too
		return statusFailed
	case errors.As(err, new(cli.ExitCoder)):
		return statusConfig
	default:
		return statusFailed
	}
}

// UsageError makes an error that ends the process with the status of a wrong
// usage or configuration.
func UsageError(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// UnknownError makes an error that ends a command with the status "cannot tell".
func UnknownError(format string, args ...any) error {
	return &unknownError{fmt.Errorf(format, args...)}
}

type unknownError struct{ error }

func (e *unknownError) Unwrap() error { return e.error }

// loggedError marks an error that was logged, and must not be printed again.
type loggedError struct{ error }

func (e *loggedError) Unwrap() error { return e.error }

// unsetEmptyVariables unsets the empty environment variables of flags. urfave/cli
// v2 takes an empty variable as a value, and would ignore the next variable of the
// same flag.
func unsetEmptyVariables(flags []cli.Flag) {
	for _, f := range flags {
		if f, ok := f.(cli.DocGenerationFlag); ok {
			for _, name := range f.GetEnvVars() {
				if os.Getenv(name) == "" {
					_ = os.Unsetenv(name)
				}
			}
		}
	}
}

func forEachCommand(commands []*cli.Command, do func(*cli.Command)) {
	for _, c := range commands {
		do(c)
		forEachCommand(c.Subcommands, do)
	}
}

// panicError is a panic that was caught. It is a bug in this program.
type panicError struct {
	Value any
	Stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// guard calls f and turns a panic into a *panicError.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}
