// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/importer"
)

var reconcileCommand = &cli.Command{
	Name:  "reconcile",
	Usage: "adopt complete images that are newer than the database, after it was restored from a backup",
	Description: "An image that the database does not know is imported. An image of a shard that is standby or full in the database\n" +
		"becomes the shard's: its objects enter the index, objects that only the table has move to a new shard, and the table is\n" +
		"dropped. Each image is read as a whole first. Half an image stays for the next packer to replace.\n" +
		"Stop all roles first. An interrupted run continues when it is started again.",
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "pool-name", Aliases: []string{"n"}, Usage: "only the images in the pool `NAME`; may be given more than once"},
		&cli.BoolFlag{Name: "dry-run", Usage: "read the images, change nothing, and print what would be adopted"},
		noProgressFlag, outputFlag,
	},
	Before: noArguments,
	Action: reconcile,
}

// adopted is an image of a known shard, as it is printed.
type adopted struct {
	Pool    string `json:"pool"`
	Image   string `json:"image"`
	Was     string `json:"was"` // the shard's state
	Objects int64  `json:"objects"`
	New     int64  `json:"new"` // objects that the index did not have
	Moved   int64  `json:"moved"`
	MovedTo string `json:"moved_to,omitempty"` // the shard that got the objects which only the table had
	Error   string `json:"error,omitempty"`
}

func reconcile(c *cli.Context) (err error) {
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
	dryRun := c.Bool("dry-run")
	if !dryRun {
		if _, err := base.ReclaimExpired(c.Context); err != nil {
			return err
		}
	}
	unpacked, err := importer.FindUnpacked(c.Context, base, from)
	if err != nil {
		return err
	}
	verb := "adopted"
	if dryRun {
		verb = "would be adopted"
	}
	for _, u := range unpacked {
		label := u.Pool.Name() + "/" + u.Shard.Name
		i := importer.Importer{Base: base, Progress: func(bytes, total int64) { j.step(label, bytes, total) }}
		row := adopted{Pool: u.Pool.Name(), Image: u.Shard.Name, Was: string(u.Shard.State)}
		got, err := i.Adopt(c.Context, u, dryRun)
		row.Objects, row.New, row.Moved, row.MovedTo = got.Objects, got.New, got.Moved, got.MovedTo
		switch {
		case errors.Is(err, importer.ErrNotComplete):
			j.note(nil, "%s: not complete, left for the next packer to replace", label)
		case err != nil:
			row.Error = err.Error()
			j.failed(row, label, err)
		case dryRun:
			j.done(row, "%s: %s, %d objects, %s", label, row.Was, row.Objects, verb)
		default:
			j.done(row, "%s: was %s, %d objects, %d new, %d moved to shard %s, %s", label, row.Was, row.Objects, row.New, row.Moved,
				orDash(row.MovedTo), verb)
		}
		if hopeless(err) {
			return j.end("stopped at " + label)
		}
	}
	if _, err := importUnknown(c, j, base, from, dryRun); err != nil {
		return err
	}
	return j.end(fmt.Sprintf("%d images were not adopted", j.lost))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
