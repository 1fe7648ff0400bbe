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
	Usage:     "migrate the images of readonly shards from pool FROM to pool TO",
	ArgsUsage: "FROM TO",
	Description: "Each copy is flushed and read back completely; only then does the database refer to TO. Where the images of the two\n" +
		"pools have different formats, the objects are encoded again. The images in FROM stay: remove them when all hosts read\n" +
		"from TO. Run an interrupted migration again to continue.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "image", Aliases: []string{"i"}, Usage: "migrate only the image `NAME`; repeat for several images (default: all images in FROM)"},
		&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, DefaultText: "no limit", Usage: "stop after `N` images have been copied"},
		&cli.BoolFlag{Name: "no-db-update", Usage: "copy only; the database continues to refer to FROM"},
		&cli.BoolFlag{Name: "no-transfer", Usage: "copy nothing; make the database refer to copies that TO has already"},
		noProgressFlag, outputFlag,
	},
	Action: migrate,
}

// migrated is the printed result for one image.
type migrated struct {
	Image    string `json:"image"`
	Objects  int64  `json:"objects"`
	Bytes    int64  `json:"bytes"`
	Copied   bool   `json:"copied"`   // false: TO had the copy already
	Recorded bool   `json:"recorded"` // the database refers to TO
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
		return daemon.UsageError("--no-transfer and --no-db-update exclude each other: nothing would be done")
	}
	s, err := openSession(c, changing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	j := s.journal
	m := migrator.Migrator{Base: s.base, NoTransfer: c.Bool("no-transfer"), NoRecord: c.Bool("no-db-update"), Progress: j.bar.show}
	if m.From, err = s.chosenPool("FROM", c.Args().Get(0)); err != nil {
		return err
	}
	if m.To, err = s.chosenPool("TO", c.Args().Get(1)); err != nil {
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
		moved, err := m.Migrate(c.Context, name)
		row := migrated{name, moved.Objects, moved.Bytes, moved.Copied, moved.Recorded, ""}
		switch {
		case err == nil:
			j.done(row, "%s: %d objects, %s%s", name, moved.Objects, humanize.Bytes(uint64(moved.Bytes)), describe(moved))
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

// describe says what the migration of one image did.
func describe(moved migrator.Moved) string {
	words := ", copy existed already"
	if moved.Copied {
		words = ", copied"
	}
	if moved.Recorded {
		words += ", recorded in the database"
	}
	return words
}
