// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/reader"
	"winery/internal/storage"
	"winery/sharedbase"
)

var locateCommand = &cli.Command{
	Name:        "locate",
	Usage:       "show which shard has an object, and where this host would read it",
	ArgsUsage:   "SHA256…",
	Description: "The object itself is not read: `wineryctl get` does that. The exit status is 1 if an object is absent or deleted.",
	Flags:       []cli.Flag{outputFlag},
	Action:      objectsLocate,
}

// locatedRow is the printed line of an object. Scripts read its JSON.
type locatedRow struct {
	Object string                `json:"object"`
	Shard  string                `json:"shard"` // "" if the object is absent or deleted; so are the others
	State  sharedbase.ShardState `json:"state"`
	Pool   string                `json:"pool"`
	From   readFrom              `json:"read_from"`
	// ReadPool is the pool of the image that is read: another than Pool after a migration. "" for a table.
	ReadPool string `json:"read_pool,omitempty"`
}

// readFrom is where a reader on this host would find an object.
type readFrom string

const (
	fromImage   readFrom = "image"
	fromTable   readFrom = "table"
	fromNowhere readFrom = "unavailable" // the image is not mapped on this host, and there is no table
)

func objectsLocate(c *cli.Context) (err error) {
	if !c.Args().Present() {
		return daemon.UsageError("objects locate takes at least one SHA256")
	}
	ids, err := parseIDs(c.Args().Slice())
	if err != nil {
		return err
	}
	_, base, set, err := openStorage(c, reading)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	defer base.Close()
	found, err := base.Locate(c.Context, ids)
	if err != nil {
		return err
	}
	rows, absent := make([]locatedRow, len(ids)), 0
	for i, at := range found {
		rows[i] = locatedRow{Object: hex.EncodeToString(ids[i][:]), Shard: at.Shard, State: at.State, Pool: at.Pool}
		if at.ShardID == 0 {
			absent++
			continue
		}
		rows[i].From, rows[i].ReadPool = readPlace(c.Context, set, at)
	}
	if asJSON(c) {
		err = printJSON(c.App.Writer, rows)
	} else {
		err = printLocated(c, rows)
	}
	if absent > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d objects are absent or deleted", absent, len(ids)))
	}
	return err
}

// readPlace finds the place as [reader.Reader] does.
func readPlace(ctx context.Context, set storage.Set, at sharedbase.Location) (from readFrom, pool string) {
	image, table := reader.Places(at.State)
	if image && mapped(ctx, set, at.Pool, at.Shard) {
		return fromImage, at.Pool
	}
	if table {
		return fromTable, ""
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if mapped(ctx, set, name, at.Shard) {
			return fromImage, name
		}
	}
	return fromNowhere, ""
}

// mapped reports whether this host can open an image as readers do.
func mapped(ctx context.Context, set storage.Set, pool, name string) bool {
	p := set[pool]
	if p == nil {
		return false
	}
	img, err := p.OpenMapped(ctx, name)
	return err == nil && img.Close() == nil
}

func printLocated(c *cli.Context, rows []locatedRow) error {
	return printTable(c.App.Writer, "OBJECT\tSHARD\tSTATE\tPOOL\tREAD FROM", func(row func(string, ...any)) {
		for _, r := range rows {
			if r.Shard == "" {
				row("%s\t-\tabsent or deleted\t-\t-", r.Object)
				continue
			}
			from := map[readFrom]string{
				fromImage: "image in pool " + r.ReadPool, fromTable: "table shard_" + r.Shard,
				fromNowhere: "unavailable here: the image is not mapped on this host",
			}[r.From]
			row("%s\t%s\t%s\t%s\t%s", r.Object, r.Shard, r.State, r.Pool, from)
		}
	})
}
