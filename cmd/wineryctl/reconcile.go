// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/importer"
)

var reconcileCommand = &cli.Command{
	Name:  "reconcile",
	Usage: "make the index agree with images that are newer, after a restore of the database from a backup",
	Description: "Objects that were erased from an image since the backup are removed from the index, so that they can be stored again.\n" +
		"For this, the index in each image is read, 40 bytes for each object, and compared with the keys in the database.\n" +
		"A readonly shard whose image was migrated to another pool since is moved there. A damaged image, or one that is not the recorded\n" +
		"one, is left as it is and is a failure.\n" +
		"Then, an image that the database does not know is imported. An image of a shard that is standby or full in the database is\n" +
		"adopted: its objects enter the index, objects that only the table has move to a new shard, and the table is dropped.\n" +
		"Each such image is verified first. An incomplete image stays: the next packer replaces it.\n" +
		"Stop all roles first. Run an interrupted command again to continue.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "pool-name", Aliases: []string{"n"}, Usage: "read only the images in pool `NAME`; repeat for several pools (default: all)"},
		&cli.BoolFlag{Name: "dry-run", Usage: "read the images, print what would be changed, and change nothing"},
		&cli.BoolFlag{Name: "skip-erased", Usage: "do not look for erased objects: until a run without this flag, an object that was erased since the backup cannot be stored again"},
		workersFlag, rateFlag, noProgressFlag, outputFlag,
	},
	Before: noArguments,
	Action: reconcile,
}

// adopted is the printed result for the image of a known shard.
type adopted struct {
	Pool    string `json:"pool"`
	Image   string `json:"image"`
	Was     string `json:"was"` // the state of the shard before
	Objects int64  `json:"objects"`
	New     int64  `json:"new"` // objects that the index did not have
	Moved   int64  `json:"moved"`
	MovedTo string `json:"moved_to,omitempty"` // the new shard of the objects that only the table had
	Error   string `json:"error,omitempty"`
}

func reconcile(c *cli.Context) (err error) {
	effort, err := chosenEffort(c)
	if err != nil {
		return err
	}
	s, err := openSession(c, changing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	j := s.journal
	from, err := s.chosenPools(c)
	if err != nil {
		return err
	}
	dryRun := c.Bool("dry-run")
	if !dryRun {
		if _, err := s.base.ReclaimExpired(c.Context); err != nil {
			return err
		}
	}
	if !c.Bool("skip-erased") { // first: what was erased in one image may be in one that is adopted
		goOn, err := removeErased(c, s, from, effort, dryRun)
		if err != nil || !goOn {
			return errors.Join(j.end("stopped: not all images were compared with the index"), err)
		}
	}
	unpacked, err := importer.FindUnpacked(c.Context, s.base, from)
	if err != nil {
		return errors.Join(j.end("stopped: no image was adopted"), err)
	}
	verb := "adopted"
	if dryRun {
		verb = "would be adopted"
	}
	for _, u := range unpacked {
		label := u.Pool.Name() + "/" + u.Shard.Name
		i := importer.Importer{Base: s.base, Rate: effort.rate, Progress: j.bar.show}
		row := adopted{Pool: u.Pool.Name(), Image: u.Shard.Name, Was: string(u.Shard.State)}
		got, err := i.Adopt(c.Context, u, dryRun)
		row.Objects, row.New, row.Moved, row.MovedTo = got.Objects, got.New, got.Moved, got.MovedTo
		switch {
		case err != nil:
			row.Error = err.Error()
			j.failed(row, label, err)
		case dryRun:
			j.done(row, "%s: %s, %d objects, %s", label, row.Was, row.Objects, verb)
		default:
			j.done(row, "%s: was %s, %d objects, %d new, %d moved to shard %s, %s", label, row.Was, row.Objects, row.New, row.Moved,
				cmp.Or(row.MovedTo, "-"), verb)
		}
		if hopeless(err) {
			return j.end("stopped at " + label)
		}
	}
	_, err = importUnknown(c, s, from, effort, dryRun)
	return errors.Join(j.end(fmt.Sprintf("%d images were not adopted, or not compared with the index", j.lost)), err)
}
