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
	Usage:     "restore damaged objects in images from files with the original contents",
	ArgsUsage: "FILE…|DIR…",
	Description: "Each file is the content of one object, for example from a backup; the SHA-256 of the file names the object. The\n" +
		"object must be in the index. An object that is intact in its image stays unchanged. Restored bytes are read back.\n" +
		"To end the quarantine of the shard afterwards, run `wineryctl verify --repair --shard NAME`. The exit status is 1\n" +
		"if a file could not be used.",
	Flags:  []cli.Flag{outputFlag},
	Action: restoreObjects,
}

// restoredRow is the printed result for one file.
type restoredRow struct {
	File     string `json:"file"`
	Object   string `json:"object"`
	Shard    string `json:"shard"`
	Restored bool   `json:"restored"` // false: the object was intact
	Error    string `json:"error,omitempty"`
}

func restoreObjects(c *cli.Context) (err error) {
	if !c.Args().Present() {
		return daemon.UsageError("restore takes at least one FILE or DIR")
	}
	s, err := openSession(c, changing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	j, scrubber := s.journal, &scrub.Scrubber{Base: s.base, Pools: s.pools}
	for file := range files(c.Args().Slice()) {
		row := restoredRow{File: file.path}
		object, err := file.read(maxFile)
		if err == nil {
			row.Object = fmt.Sprintf("%x", object.ID)
			sh, restored, failure := scrubber.RestoreObject(c.Context, object.Content)
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
			j.done(row, "%s: object %s is intact in shard %s", file.path, row.Object, row.Shard)
		}
	}
	return j.end(fmt.Sprintf("%d of %d files could not be used", j.lost, j.handled()))
}
