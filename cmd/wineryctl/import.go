// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/urfave/cli/v2"

	"winery/internal/importer"
	"winery/pool"
	"winery/sharedbase"
)

var importFlags = []cli.Flag{
	&cli.StringSliceFlag{Name: "pool-name", Aliases: []string{"n"}, Usage: "import only the images in pool `NAME`; repeat for several pools (default: all)"},
	&cli.BoolFlag{Name: "quick", Usage: "verify a sample of the objects of each image, instead of all objects"},
	workersFlag, rateFlag, noProgressFlag, outputFlag,
}

var importCommand = &cli.Command{
	Name:  "import",
	Usage: "create the shards of images that the database does not know",
	Description: "Each image is verified first; then its shard and all of its objects become visible in one transaction.\n" +
		"An interrupted import leaves nothing of the image in progress. Run the same command again to continue.",
	Flags:  importFlags,
	Before: noArguments,
	Action: importImages,
}

var indexCommand = &cli.Command{
	Name:      "index",
	Usage:     "rebuild the index of objects, or reconcile it with the pools",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{{
		Name:  "rebuild",
		Usage: "import all images into a new database (see db init), after the loss of the old database",
		Description: "Objects that were not packed are lost with the old database. Objects that were deleted, but not yet erased from\n" +
			"their image, are present again. Run an interrupted command again to continue. Several hosts may run it at once: each\n" +
			"imports images that no other has imported.",
		Flags:  importFlags,
		Before: noArguments,
		Action: importImages,
	}, reconcileCommand},
	Action: needSubcommand,
}

// imported is the printed result for one image.
type imported struct {
	Pool    string `json:"pool"`
	Image   string `json:"image"`
	Objects int64  `json:"objects"`
	New     int64  `json:"new"` // objects that the index did not have
	// Unfinished says that the image was never in use: it was not imported, which is no failure.
	Unfinished bool   `json:"unfinished,omitempty"`
	Error      string `json:"error,omitempty"`
}

// howToRemove is what a person may do with an unfinished image.
const howToRemove = "it was never in use, and no object can be read from it. If no packer or migration is writing it, " +
	"it may be removed: see \"Verify and repair\" in operations.md"

func importImages(c *cli.Context) (err error) {
	effort, err := chosenEffort(c)
	if err != nil {
		return err
	}
	s, err := openSession(c, changing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	from, err := s.chosenPools(c)
	if err != nil {
		return err
	}
	unpacked, err := importer.FindUnpacked(c.Context, s.base, from)
	if err != nil {
		return err
	}
	for _, u := range unpacked {
		s.journal.note(nil, "%s/%s: not imported: the shard is %s in the database, and its image is complete; see `wineryctl index reconcile --dry-run`",
			u.Pool.Name(), u.Shard.Name, u.Shard.State)
	}
	images, err := importUnknown(c, s, from, effort, false)
	return errors.Join(s.journal.end(fmt.Sprintf("%d of %d images were not imported", images-s.journal.did, images)), err)
}

// importUnknown imports the images that the database does not know, or with dryRun
// reads and prints them. It returns their number, without those that need not be imported.
func importUnknown(c *cli.Context, s *session, from []pool.Pool, e effort, dryRun bool) (found int, err error) {
	j := s.journal
	images, err := importer.Find(c.Context, s.base, from)
	if err != nil {
		return 0, err
	}
	if !dryRun { // several hosts that begin together share the work
		rand.Shuffle(len(images), func(i, j int) { images[i], images[j] = images[j], images[i] })
	}
	var sum sharedbase.Imported
	did, skipped := 0, 0
	forEach(e.workers, images, func(image importer.Image) (got sharedbase.Imported, err error) {
		if image.Err != nil {
			return got, image.Err
		}
		i := importer.Importer{Base: s.base, Quick: c.Bool("quick"), Rate: e.rate, Progress: j.bar.show}
		if dryRun {
			got.Objects, err = i.Examine(c.Context, image.Pool, image.Name)
			return got, err
		}
		return i.Import(c.Context, image.Pool, image.Name)
	}, func(image importer.Image, got sharedbase.Imported, err error) (more bool) {
		label := image.Pool.Name() + "/" + image.Name
		row := imported{Pool: image.Pool.Name(), Image: image.Name, Objects: got.Objects, New: got.New}
		switch {
		case errors.Is(err, sharedbase.ErrExists):
			skipped++
			j.note(nil, "%s: another process imports it, or has imported it meanwhile", label)
		case errors.Is(err, importer.ErrUnfinished):
			skipped++
			row.Unfinished = true
			j.note(row, "%s: not imported: %v: %s", label, importer.ErrUnfinished, howToRemove)
		case err != nil:
			row.Error = err.Error()
			j.failed(row, label, err)
		case dryRun:
			j.done(row, "%s: not in the database, %d objects, would be imported", label, got.Objects)
		default:
			j.done(row, "%s: %d objects, %d new", label, got.Objects, got.New)
			did, sum.Objects, sum.New = did+1, sum.Objects+got.Objects, sum.New+got.New
		}
		return !hopeless(err)
	})
	if dryRun {
		return len(images) - skipped, nil
	}
	_, err = fmt.Fprintf(c.App.ErrWriter, "imported %d images: %d objects, %d new\n", did, sum.Objects, sum.New)
	return len(images) - skipped, err
}
