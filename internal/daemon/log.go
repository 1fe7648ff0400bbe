// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/journal"
	"github.com/urfave/cli/v2"

	"winery/internal/journal"
)

const (
	logLevelFlag = "log-level"
	logLevelFile = "log-level-file"
	logFormat    = "log-format"
)

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: logLevelFlag, Value: "info", Usage: "set the minimum log `LEVEL`: debug, info, warn or error"},
		&cli.StringFlag{
			Name: logFormat, Value: "auto",
			Usage: "write the log in `FORMAT`: text, json, or auto (fields of systemd's journal if standard error is the journal, else text)",
		},
	}
}

// logLevelFileFlag is for roles only, because no signal makes a command read a file.
var logLevelFileFlag = &cli.StringFlag{
	Name:  logLevelFile,
	Usage: "read the minimum log level from `FILE`, at the start and by SIGHUP; where it does not exist, --" + logLevelFlag + " counts",
}

// Logger makes the logger that the flags of c ask for.
func Logger(c *cli.Context, w io.Writer) (*slog.Logger, error) {
	level := &slog.LevelVar{}
	if err := setLogLevel(c, level); err != nil {
		return nil, err
	}
	return newLogger(c, w, level)
}

// roleLogger is Logger for a role, whose level a reload may change. A file of the
// level that cannot be read, or has a wrong word, does not keep the role from starting.
func roleLogger(c *cli.Context, level *slog.LevelVar) (*slog.Logger, error) {
	unset := setLogLevel(c, level)
	if unset != nil {
		if err := flagLogLevel(c, level); err != nil {
			return nil, err
		}
	}
	log, err := newLogger(c, c.App.ErrWriter, level)
	if err == nil && unset != nil {
		log.Warn("cannot read the log level from --"+logLevelFile+", using --"+logLevelFlag, "err", unset)
	}
	return log, err
}

func newLogger(c *cli.Context, w io.Writer, level slog.Leveler) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: level}
	switch format := c.String(logFormat); format {
	case "auto":
		if leads, err := systemd.StderrIsJournalStream(); leads && err == nil && w == os.Stderr {
			if h, err := journal.NewHandler(journal.Socket, c.App.Name, level, w); err == nil {
				return slog.New(h), nil
			}
		}
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	default:
		return nil, UsageError("--%s: found %q, must be auto, text or json", logFormat, format)
	}
}

// setLogLevel sets level to what the file of --log-level-file says, and to
// --log-level where there is no such file. After an error, level is what it was.
func setLogLevel(c *cli.Context, level *slog.LevelVar) error {
	file := c.String(logLevelFile)
	if file == "" {
		return flagLogLevel(c, level)
	}
	text, err := os.ReadFile(file) //nolint:gosec // the file that the operator names
	if errors.Is(err, fs.ErrNotExist) {
		return flagLogLevel(c, level)
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", logLevelFile, err)
	}
	if err := parseLogLevel(strings.TrimSpace(string(text)), level); err != nil {
		return fmt.Errorf("--%s %s: %w", logLevelFile, file, err)
	}
	return nil
}

func flagLogLevel(c *cli.Context, level *slog.LevelVar) error {
	if err := parseLogLevel(c.String(logLevelFlag), level); err != nil {
		return UsageError("--%s: %w", logLevelFlag, err)
	}
	return nil
}

func parseLogLevel(text string, level *slog.LevelVar) error {
	known := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	l, ok := known[text]
	if !ok {
		return fmt.Errorf("found %q, must be debug, info, warn or error", text)
	}
	level.Set(l)
	return nil
}
