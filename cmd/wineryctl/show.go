// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var showCommand = &cli.Command{
	Name:        "show",
	Usage:       "show all that the database records about a shard",
	ArgsUsage:   "NAME",
	Description: "The command reads the shard's part of the index and the shard's table, and no image. It takes seconds for a large shard.",
	Flags:       []cli.Flag{outputFlag},
	Action:      shardsShow,
}

// shardDetails is what is printed about one shard. Scripts read its JSON.
type shardDetails struct {
	shardRow
	InState    time.Time       `json:"in_state_since,omitzero"` // absent: not known
	Quarantine *quarantinedRow `json:"quarantine"`              // null: not quarantined
	Packed     *packedImage    `json:"packed"`                  // the image when it was packed; null: no record, because it is not packed, or was by Python
	Objects    shardObjects    `json:"objects"`
}

type packedImage struct {
	Objects     int64  `json:"objects"`
	Bytes       int64  `json:"bytes"`
	Fingerprint string `json:"fingerprint"` // SHA-256 of header and hash function
}

// shardObjects are the objects of a shard in the index.
type shardObjects struct {
	Present  int64 `json:"present"`
	Deleted  int64 `json:"deleted"`  // to be erased from the image
	Noted    int64 `json:"noted"`    // the same, after they were added again to another shard
	InFlight int64 `json:"inflight"` // that an old release of Python Winery began to add
}

func shardsShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return daemon.UsageError("shards show takes the NAME of one shard")
	}
	cfg, base, err := changing(c) // the tables winery_* have most of what is shown
	if err != nil {
		return err
	}
	defer base.Close()
	s, err := base.ShardByName(c.Context, c.Args().First())
	if errors.Is(err, sharedbase.ErrNotFound) {
		return fmt.Errorf("there is no shard %s; see `wineryctl shards list`", c.Args().First())
	}
	if err != nil {
		return err
	}
	p, _ := cfg.Pool(s.Pool)
	d, err := detailsOf(c, base, s, p.ShardMaxSize)
	if err != nil {
		return err
	}
	if asJSON(c) {
		return printJSON(c.App.Writer, d)
	}
	return d.print(c.App.Writer)
}

func detailsOf(c *cli.Context, base *sharedbase.SharedBase, s sharedbase.Shard, maxSize int64) (d shardDetails, err error) {
	rows, err := rowsOf(c, base, []sharedbase.Shard{s})
	if err != nil {
		return d, err
	}
	d.shardRow = rows[0]
	if err := d.measure(c, base, maxSize); err != nil {
		return d, err
	}
	quarantined, err := base.QuarantinedShards(c.Context)
	if err != nil {
		return d, err
	}
	if i := slices.IndexFunc(quarantined, func(q sharedbase.Quarantined) bool { return q.Shard.ID == s.ID }); i >= 0 {
		d.Quarantine = new(quarantinedRowOf(quarantined[i]))
	}
	record, found, err := base.ImageRecord(c.Context, s.ID)
	if err != nil {
		return d, err
	}
	if found {
		d.Packed = &packedImage{record.Objects, record.Bytes, hex.EncodeToString(record.Fingerprint[:])}
	}
	if d.InState, err = base.InStateSince(c.Context, s.ID); err != nil {
		return d, err
	}
	n, err := base.CountByState(c.Context, s.ID)
	d.Objects = shardObjects{n.Present, n.Deleted, n.Noted, n.InFlight}
	return d, err
}

func (d shardDetails) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(table, name+":\t"+format+"\n", args...) // an error comes back from Flush
	}
	line("name", "%s", d.Name)
	line("state", "%s", d.State)
	if !d.InState.IsZero() {
		line("in this state since", "%s", d.InState.Local().Format(time.DateTime))
	}
	line("pool", "%s", d.Pool)
	if q := d.Quarantine; q != nil {
		line("quarantined", "since %s by %s on %s: %s", q.At.Local().Format(time.DateTime), q.Role, q.Host, q.Reason)
	}
	if d.Locker != nil {
		line("locked by", "%s, locker %s", d.holder(), d.Locker)
	}
	if d.Since != nil {
		line("locked or renewed", "%s", d.Since.Local().Format(time.DateTime))
	}
	if d.Until != nil {
		line("lease until", "%s", d.Until.Local().Format(time.DateTime))
	}
	if d.Image != nil {
		line("image claimed by", "%s, until %s", d.Image.Holder, d.Image.Until.Local().Format(time.DateTime))
	}
	hosts := "no host"
	if len(d.Hosts) > 0 {
		hosts = strings.Join(d.Hosts, ", ")
	}
	line("image mapped by", "%s", hosts)
	if p := d.Packed; p != nil {
		line("image as packed", "%s objects, %s, fingerprint %s", humanize.Comma(p.Objects), humanize.Bytes(uint64(p.Bytes)), p.Fingerprint)
	} else {
		line("image as packed", "no record")
	}
	line("table", "%s", d.Table)
	line("objects", "%s present, %s deleted, %s noted to be erased, %s in flight", humanize.Comma(d.Objects.Present),
		humanize.Comma(d.Objects.Deleted), humanize.Comma(d.Objects.Noted), humanize.Comma(d.Objects.InFlight))
	return table.Flush()
}
