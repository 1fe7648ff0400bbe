// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/scrub"
)

var restoreCommand = &cli.Command{
	Name:      "restore",
	Usage:     "restore damaged objects in their images from files with their contents",
	ArgsUsage: "FILE…|DIR…",
	Description: "Each file is the object that its SHA-256 names, from a backup or another archive. The object must be in the index; one\n" +
		"that is whole in its image is left alone. What was written is read back. `wineryctl verify --repair --shard NAME`\n" +
		"unquarantines the shard once nothing is found in it. The exit status is 1 if a file could not be used.",
	Flags:  []cli.Flag{outputFlag},
	Action: restoreObjects,
}

// restoredRow is a file that was handled, as it is printed.
type restoredRow struct {
	File     string `json:"file"`
	Object   string `json:"object"`
	Shard    string `json:"shard"`
	Restored bool   `json:"restored"` // false: it was whole
	Error    string `json:"error,omitempty"`
}

func restoreObjects(c *cli.Context) (err error) {
	if !c.Args().Present() {
		return daemon.UsageError("restore takes at least one FILE or DIR")
	}
	j, err := newJournal(c)
	if err != nil {
		return err
	}
	_, base, set, err := openStorage(c, changing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	defer base.Close()
	s := &scrub.Scrubber{Base: base, Pools: set}
	for file := range files(c.Args().Slice()) {
		row := restoredRow{File: file.path}
		object, err := file.read(maxFile)
		if err == nil {
			row.Object = fmt.Sprintf("%x", object.ID)
			sh, restored, failure := s.RestoreObject(c.Context, object.Content)
			row.Shard, row.Restored, err = sh.Name, restored, failure
		}
		switch {
		case err != nil:
			row.Error = err.Error()
			j.failed(row, file.path, err)
			if hopeless(err) {
				return j.end("stopped: the other files were not tried")
			}
		case row.Restored:
			j.done(row, "%s: object %s restored in shard %s", file.path, row.Object, row.Shard)
		default:
			j.done(row, "%s: object %s is whole in shard %s", file.path, row.Object, row.Shard)
		}
	}
	return j.end(fmt.Sprintf("%d of %d files could not be used", j.lost, j.handled()))
}
