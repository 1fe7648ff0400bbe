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
	Usage: "adopt complete images that are newer than the database, after a restore of the database from a backup",
	Description: "An image that the database does not know is imported. An image of a shard that is standby or full in the database is\n" +
		"adopted: its objects enter the index, objects that only the table has move to a new shard, and the table is dropped.\n" +
		"Each image is verified first. An incomplete image stays: the next packer replaces it.\n" +
		"Stop all roles first. Run an interrupted command again to continue.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "pool-name", Aliases: []string{"n"}, Usage: "adopt only the images in pool `NAME`; repeat for several pools (default: all)"},
		&cli.BoolFlag{Name: "dry-run", Usage: "verify the images, print what would be adopted, and change nothing"},
		noProgressFlag, outputFlag,
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
	unpacked, err := importer.FindUnpacked(c.Context, s.base, from)
	if err != nil {
		return err
	}
	verb := "adopted"
	if dryRun {
		verb = "would be adopted"
	}
	for _, u := range unpacked {
		label := u.Pool.Name() + "/" + u.Shard.Name
		i := importer.Importer{Base: s.base, Progress: j.bar.show}
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
	_, err = importUnknown(c, s, from, effort{workers: 1}, dryRun)
	return errors.Join(j.end(fmt.Sprintf("%d images were not adopted", j.lost)), err)
}
