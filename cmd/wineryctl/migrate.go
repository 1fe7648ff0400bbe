// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/migrator"
)

var migrateCommand = &cli.Command{
	Name:      "migrate",
	Usage:     "move images of readonly shards from one pool to another",
	ArgsUsage: "FROM TO",
	Description: "Each copy is flushed and read back as a whole, and only then the database is told. The images in FROM stay; once\n" +
		"all hosts read from TO they can be removed. A migration that was interrupted goes on if started again.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "image", Aliases: []string{"i"}, Usage: "only the image `NAME`; may be given more than once (default: all images in FROM)"},
		&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Usage: "stop after `N` images were copied"},
		&cli.BoolFlag{Name: "no-db-update", Usage: "copy only: the database goes on to refer to FROM"},
		&cli.BoolFlag{Name: "no-transfer", Usage: "copy nothing: tell the database of copies that are in TO"},
		noProgressFlag, outputFlag,
	},
	Action: migrate,
}

// migrated is an image that was handled, as it is printed.
type migrated struct {
	Image    string `json:"image"`
	Objects  int64  `json:"objects"`
	Bytes    int64  `json:"bytes"`
	Copied   bool   `json:"copied"`   // false: the copy was there
	Recorded bool   `json:"recorded"` // the database was told
	Error    string `json:"error,omitempty"`
}

func migrate(c *cli.Context) (err error) {
	if c.NArg() != 2 || c.Args().Get(0) == c.Args().Get(1) {
		return daemon.UsageError("migrate takes two different pools, FROM and TO")
	}
	limit := c.Int("limit")
	if c.IsSet("limit") && limit < 1 {
		return daemon.UsageError("--limit: found %d, must be 1 or more", limit)
	}
	if c.Bool("no-transfer") && c.Bool("no-db-update") {
		return daemon.UsageError("with --no-transfer and --no-db-update there is nothing to do")
	}
	j, err := newJournal(c)
	if err != nil {
		return err
	}
	cfg, base, set, err := openStorage(c, changing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	defer base.Close()
	m := migrator.Migrator{Base: base, NoTransfer: c.Bool("no-transfer"), NoRecord: c.Bool("no-db-update")}
	if m.From, err = chosenPool(cfg, set, "FROM", c.Args().Get(0)); err != nil {
		return err
	}
	if m.To, err = chosenPool(cfg, set, "TO", c.Args().Get(1)); err != nil {
		return err
	}
	named := c.StringSlice("image")
	images := named
	if len(named) == 0 {
		if images, err = m.From.List(c.Context); err != nil {
			return err
		}
	}
	copied := 0
	for _, name := range images {
		m.Progress = func(phase migrator.Phase, bytes, total int64) { j.step(string(phase)+" "+name, bytes, total) }
		moved, err := m.Migrate(c.Context, name)
		row := migrated{name, moved.Objects, moved.Bytes, moved.Copied, moved.Recorded, ""}
		switch {
		case err == nil:
			j.done(row, "%s: %d objects, %s%s", name, moved.Objects, humanize.Bytes(uint64(moved.Bytes)), did(moved))
		case errors.Is(err, migrator.ErrSkipped) && len(named) == 0:
			row.Error = err.Error()
			j.note(row, "%s: %v", name, err)
		default:
			row.Error = err.Error()
			j.failed(row, name, err)
		}
		if moved.Copied && err == nil {
			copied++
		}
		if hopeless(err) || limit > 0 && copied == limit {
			break
		}
	}
	return j.end(fmt.Sprintf("%d of %d images were not migrated", j.lost, len(images)))
}

// did is what was done with an image that is in its new pool, in words.
func did(moved migrator.Moved) string {
	words := ", was there already"
	if moved.Copied {
		words = ", copied"
	}
	if moved.Recorded {
		words += ", recorded"
	}
	return words
}
