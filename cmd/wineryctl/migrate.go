// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/migrator"
	"winery/pool"
)

var migrateCommand = &cli.Command{
	Name:      "migrate",
	Usage:     "migrate the images of readonly shards from pool FROM to pool TO",
	ArgsUsage: "FROM TO",
	Description: "Each copy is flushed and read back completely; only then does the database refer to TO. Where the images of the two\n" +
		"pools have different formats, the objects are encoded again. The images in FROM stay: remove them when all hosts read\n" +
		"from TO. Run an interrupted migration again to continue. An image is read twice, the original and the copy; a copy in S3\n" +
		"is also uploaded and read back. --rate limits the sum.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "image", Aliases: []string{"i"}, Usage: "migrate only the image `NAME`; repeat for several images (default: all images in FROM)"},
		&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, DefaultText: "no limit", Usage: "begin no other image after `N` images have been copied"},
		&cli.BoolFlag{Name: "no-db-update", Usage: "copy only; the database continues to refer to FROM"},
		&cli.BoolFlag{Name: "no-transfer", Usage: "copy nothing; make the database refer to copies that TO has already"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print which images would be migrated, and what that takes; change nothing"},
		workersFlag, rateFlag, noProgressFlag, outputFlag,
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
	effort, err := chosenEffort(c)
	switch {
	case err != nil:
		return err
	case c.IsSet("limit") && limit < 1:
		return daemon.UsageError("--limit: found %d, must be 1 or more", limit)
	case c.Bool("no-transfer") && c.Bool("no-db-update"):
		return daemon.UsageError("--no-transfer and --no-db-update exclude each other: nothing would be done")
	case c.Bool("no-transfer") && c.Bool("dry-run"):
		return daemon.UsageError("--no-transfer and --dry-run exclude each other: whether the copies are whole is only known when they have been read")
	}
	s, err := openSession(c, changing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	j := s.journal
	m := migrator.Migrator{
		Base: s.base, NoTransfer: c.Bool("no-transfer"), NoRecord: c.Bool("no-db-update"), Rate: effort.rate, Progress: j.bar.show,
	}
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
	// failed prints why an image was not migrated.
	failed := func(row migrated, err error) {
		row.Error = err.Error()
		if errors.Is(err, migrator.ErrSkipped) && len(named) == 0 {
			j.note(row, "%s: %v", row.Image, err)
		} else {
			j.failed(row, row.Image, err)
		}
	}
	if c.Bool("dry-run") {
		return planMigration(c, &m, j, images, failed)
	}
	copied, tried, stopped := 0, 0, false
	forEach(effort.workers, images, func(name string) (migrator.Moved, error) {
		return m.Migrate(c.Context, name)
	}, func(name string, moved migrator.Moved, err error) (more bool) {
		row := migrated{name, moved.Objects, moved.Bytes, moved.Copied, moved.Recorded, ""}
		tried++
		if err != nil {
			failed(row, err)
			stopped = stopped || hopeless(err)
			return !stopped
		}
		j.done(row, "%s: %d objects, %s%s", name, moved.Objects, humanize.Bytes(uint64(moved.Bytes)), describe(moved))
		if moved.Copied {
			copied++
		}
		return limit == 0 || copied < limit
	})
	failure := fmt.Sprintf("%d of %d images were not migrated", j.lost, len(images))
	if stopped {
		failure += untried(len(images)-tried, "image")
	}
	return j.end(failure)
}

// untried tells of what was left out after an error that stops the command: so many
// images, or other things.
func untried(n int, thing string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; stopped: %s not tried", english.Plural(n, thing+" was", thing+"s were"))
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

// planMigration prints what a migration would take.
func planMigration(c *cli.Context, m *migrator.Migrator, j *journal, images []string, failed func(migrated, error)) error {
	limit := c.Int("limit")
	space, err := m.To.Space(c.Context)
	if err != nil {
		return err
	}
	var bytes, needs int64
	left := ""
	for i, name := range images {
		p, err := m.Plan(c.Context, name)
		row := migrated{Image: name, Objects: p.Objects, Bytes: p.Needs}
		if err != nil {
			failed(row, err)
			if hopeless(err) {
				left = untried(len(images)-i-1, "image")
				break
			}
			continue
		}
		j.done(row, "%s: %d objects, would be migrated; the copy takes at most %s", name, p.Objects, humanize.Bytes(uint64(p.Needs)))
		bytes, needs = bytes+p.Bytes, needs+p.Needs
		if j.did == limit {
			break
		}
	}
	took := ""
	if mb := c.Float64(rateFlag.Name); mb > 0 {
		read := time.Duration(float64(bytes+needs) / (mb * 1e6) * float64(time.Second))
		took = fmt.Sprintf("; reading originals and copies at %g MB/s takes about %v", mb, read.Round(time.Second))
	}
	room := fmt.Sprintf("pool %s has %s free", m.To.Name(), humanize.Bytes(uint64(space.Free)))
	if space == pool.Unlimited {
		room = fmt.Sprintf("the store of pool %s has no limit that can be asked for", m.To.Name())
	}
	_, err = fmt.Fprintf(c.App.ErrWriter, "%d images would be migrated: %s of objects; the copies take at most %s, %s%s\n", j.did,
		humanize.Bytes(uint64(bytes)), humanize.Bytes(uint64(needs)), room, took)
	return errors.Join(j.end(fmt.Sprintf("%d of %d images could not be migrated%s", j.lost, len(images), left)), err)
}
