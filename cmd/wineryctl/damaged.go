// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/sharedbase"
)

var exportDamagedCommand = &cli.Command{
	Name:      "export-damaged",
	Usage:     "DESTRUCTIVE: move damaged rows from the table of a full or standby shard to files in DIR",
	ArgsUsage: "NAME DIR",
	Description: "A row is damaged if its key is not the SHA-256 of its content, or if its content is NULL. Python Winery can store such rows.\n" +
		"Each row becomes a file in DIR, which must be new or empty: KEY.content or KEY.null. When all files are durable, the rows\n" +
		"are removed from the table and the index, and the quarantine of the shard ends.",
	Action: exportDamaged,
}

func exportDamaged(c *cli.Context) error {
	if c.NArg() != 2 {
		return daemon.UsageError("export-damaged takes the NAME of a shard, and a DIR")
	}
	name, dir := c.Args().Get(0), c.Args().Get(1)
	_, base, err := changing(c)
	if err != nil {
		return err
	}
	defer base.Close()
	s, err := base.ShardByName(c.Context, name)
	if err != nil {
		return err
	}
	locked := map[sharedbase.ShardState]sharedbase.ShardState{
		sharedbase.StateFull: sharedbase.StatePacking, sharedbase.StateStandby: sharedbase.StateWriting,
	}[s.State]
	if locked == "" {
		return fmt.Errorf("shard %s is %s: only the table of a full or standby shard can be changed", name, s.State)
	}
	exported := 0
	worked, err := base.WithOneShard(c.Context, s.State, locked, sharedbase.ClaimFilter{Name: name, IncludeQuarantined: true},
		func(ctx context.Context, claim *sharedbase.Claim) error {
			rows, err := claim.DamagedRows(ctx)
			if err != nil || len(rows) == 0 {
				return err
			}
			if err := exportRows(ctx, claim, rows, dir); err != nil {
				return err
			}
			exported = len(rows)
			return claim.RemoveDamaged(ctx, rows)
		})
	switch {
	case err != nil:
		return err
	case !worked:
		return fmt.Errorf("shard %s is held by another process; try again", name)
	case exported == 0:
		_, err = fmt.Fprintf(c.App.Writer, "shard %s has no damaged row; nothing was changed\n", name)
	default:
		_, err = fmt.Fprintf(c.App.Writer, "moved %d damaged rows of shard %s to %s\n", exported, name, dir)
	}
	return err
}

// exportRows writes each row to a file in dir. It returns nil when all files are durable.
func exportRows(ctx context.Context, claim *sharedbase.Claim, rows []sharedbase.DamagedRow, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) > 0 {
		return errors.Join(err, fmt.Errorf("the directory %s must be new or empty", dir))
	}
	for _, row := range rows {
		kind := "content"
		if row.Size < 0 {
			kind = "null"
		}
		path := filepath.Join(dir, fmt.Sprintf("%x.%s", row.Key, kind))
		if err := createSynced(path, func(w io.Writer) error { return claim.WriteDamaged(ctx, row, w) }); err != nil {
			return err
		}
	}
	return errors.Join(syncDirectory(dir), syncDirectory(filepath.Dir(filepath.Clean(dir))))
}

func createSynced(path string, write func(io.Writer) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(file.Sync(), file.Close())
}
