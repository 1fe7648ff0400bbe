// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/importer"
	"winery/pool"
	"winery/sharedbase"
)

var importFlags = []cli.Flag{
	&cli.StringSliceFlag{Name: "pool-name", Aliases: []string{"n"}, Usage: "only the images in the pool `NAME`; may be given more than once"},
	&cli.BoolFlag{Name: "quick", Usage: "check a sample of each image's objects, instead of all"},
	noProgressFlag, outputFlag,
}

var importCommand = &cli.Command{
	Name:  "import",
	Usage: "make shards of images that the database does not know",
	Description: "Each image is checked as a whole, and then appears in the database with all of its objects at once.\n" +
		"An import that was interrupted left out the image under work; the same command goes on with it.",
	Flags:  importFlags,
	Before: noArguments,
	Action: importImages,
}

var indexCommand = &cli.Command{
	Name:  "index",
	Usage: "look after the index of objects",
	Subcommands: []*cli.Command{{
		Name:  "rebuild",
		Usage: "after the loss of the database: fill a new one (see db init) from the images in the pools",
		Description: "It is an import of all images. Objects that were not packed yet are lost with the database; objects that were\n" +
			"deleted, and not yet erased in their image, are present again.",
		Flags:  importFlags,
		Before: noArguments,
		Action: importImages,
	}, reconcileCommand},
	Action: needSubcommand,
}

// imported is an image that was handled, as it is printed.
type imported struct {
	Pool    string `json:"pool"`
	Image   string `json:"image"`
	Objects int64  `json:"objects"`
	New     int64  `json:"new"` // objects that no shard had
	Error   string `json:"error,omitempty"`
}

func importImages(c *cli.Context) (err error) {
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
	from, err := chosenPools(c, cfg, set)
	if err != nil {
		return err
	}
	unpacked, err := importer.FindUnpacked(c.Context, base, from)
	if err != nil {
		return err
	}
	for _, u := range unpacked {
		j.note(nil, "%s/%s: not imported: the shard is %s in the database, and its image is complete; see `wineryctl index reconcile --dry-run`",
			u.Pool.Name(), u.Shard.Name, u.Shard.State)
	}
	images, err := importUnknown(c, j, base, from, false)
	if err != nil {
		return err
	}
	return j.end(fmt.Sprintf("%d of %d images were not imported", images-j.did, images))
}

// importUnknown imports the images that the database does not know, or with
// dryRun prints them, and returns how many there are.
func importUnknown(c *cli.Context, j *journal, base *sharedbase.SharedBase, from []pool.Pool, dryRun bool) (found int, err error) {
	images, err := importer.Find(c.Context, base, from)
	if err != nil {
		return 0, err
	}
	var sum sharedbase.Imported
	did := 0
	for _, image := range images {
		label := image.Pool.Name() + "/" + image.Name
		row := imported{Pool: image.Pool.Name(), Image: image.Name}
		if dryRun {
			j.done(row, "%s: not in the database, would be imported", label)
			continue
		}
		i := importer.Importer{Base: base, Quick: c.Bool("quick"), Progress: func(bytes, total int64) { j.step(label, bytes, total) }}
		var got sharedbase.Imported
		err := image.Err
		if err == nil {
			got, err = i.Import(c.Context, image.Pool, image.Name)
		}
		if err != nil {
			row.Error = err.Error()
			j.failed(row, label, err)
			if hopeless(err) {
				break
			}
			continue
		}
		row.Objects, row.New = got.Objects, got.New
		j.done(row, "%s: %d objects, %d new", label, got.Objects, got.New)
		did, sum.Objects, sum.New = did+1, sum.Objects+got.Objects, sum.New+got.New
	}
	_, err = fmt.Fprintf(c.App.ErrWriter, "imported %d images: %d objects, %d new\n", did, sum.Objects, sum.New)
	return len(images), err
}
