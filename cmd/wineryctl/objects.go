// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"winery/internal/cleaner"
	"winery/internal/daemon"
	"winery/internal/storage"
	"winery/sharedbase"
)

var objectsCommand = &cli.Command{
	Name:      "objects",
	Usage:     "locate objects, erase deleted objects, list deletions, and restore damaged objects",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{{
		Name:  "clean-deleted",
		Usage: "DESTRUCTIVE: erase deleted objects from images and index now, without waiting for winery-cleaner",
		Description: "The exit status is 1 if deleted objects are left in images that other processes have claimed, in quarantined shards,\n" +
			"or in pools that the configuration does not have. Shards that are not packed yet have no image to erase in.",
		Before: noArguments,
		Action: cleanDeleted,
	}, restoreCommand, locateCommand, deletionsCommand},
	Action: needSubcommand,
}

func cleanDeleted(c *cli.Context) (err error) {
	log, err := daemon.Logger(c, c.App.ErrWriter)
	if err != nil {
		return err
	}
	_, base, set, err := openStorage(c, changing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	defer base.Close()
	var claimed sync.Map // by the names of shards
	erased, err := cleaner.New(cleaner.Options{
		Base: base, Pools: set, Log: log, Claimed: func(shard string) { claimed.Store(shard, true) },
	}).EraseDeleted(c.Context)
	_, printErr := fmt.Fprintf(c.App.Writer, "%d deleted objects erased\n", erased)
	if err = errors.Join(err, printErr); c.Context.Err() != nil {
		return err
	}
	shards, errLeft := base.LeftToErase(c.Context)
	if errLeft != nil {
		return errors.Join(err, errLeft)
	}
	return errors.Join(err, notErased(c.App.Writer, set, &claimed, shards))
}

// notErased prints how many deleted objects may be left for a while. It returns an error that
// says how many were left out, and why.
func notErased(w io.Writer, set storage.Set, claimed *sync.Map, shards []sharedbase.ToErase) (err error) {
	var unpacked, quarantined, elsewhere, busy, other int64
	var pools []string
	for _, s := range shards {
		_, skipped := claimed.Load(s.Shard)
		switch {
		case !s.State.ImageAvailable():
			unpacked += s.Objects
		case s.Quarantined:
			quarantined += s.Objects
		case set[s.Pool] == nil:
			elsewhere += s.Objects
			pools = append(pools, s.Pool)
		case skipped:
			busy += s.Objects
		default:
			other += s.Objects
		}
	}
	if unpacked > 0 {
		_, err = fmt.Fprintf(w, "%d deleted objects are in shards that are not packed yet\n", unpacked)
	}
	if other > 0 && err == nil {
		_, err = fmt.Fprintf(w, "%d deleted objects are left in images that could not be changed, or were deleted during the run\n", other)
	}
	var why []string
	if busy > 0 {
		why = append(why, fmt.Sprintf("%d in images that other processes have claimed: run the command again later", busy))
	}
	if quarantined > 0 {
		why = append(why, fmt.Sprintf("%d in quarantined shards: see `wineryctl shards quarantined`", quarantined))
	}
	if elsewhere > 0 {
		slices.Sort(pools)
		why = append(why, fmt.Sprintf("%d in pools that the configuration does not have: %s", elsewhere, strings.Join(slices.Compact(pools), ", ")))
	}
	if len(why) > 0 {
		err = errors.Join(err, fmt.Errorf("%d deleted objects were not erased; %s", busy+quarantined+elsewhere, strings.Join(why, "; ")))
	}
	return err
}
