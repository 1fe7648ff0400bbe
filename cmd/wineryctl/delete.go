// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/httpapi/rpc/client"
)

var deleteCommand = &cli.Command{
	Name:        "delete",
	Usage:       "DESTRUCTIVE: delete objects",
	ArgsUsage:   "SHA256…",
	Description: "Deleted objects cannot be read any more. winery-cleaner erases their bytes from the images later.",
	Action:      deleteObjects,
}

func deleteObjects(c *cli.Context) error {
	if !c.Args().Present() {
		return daemon.UsageError("delete takes at least one SHA256")
	}
	ids, err := parseIDs(c.Args().Slice())
	if err != nil {
		return err
	}
	winery, _, err := connect(c)
	if err != nil {
		return err
	}
	defer winery.Close()
	failed := 0
	for i, id := range ids {
		err := winery.Delete(c.Context, id)
		if errors.Is(err, client.ErrUnavailable) || errors.Is(err, context.Canceled) {
			return fmt.Errorf("%d of %d objects were not deleted: object %x: %w", len(ids)-i+failed, len(ids), id, err)
		}
		if err != nil {
			failed++
			_, _ = fmt.Fprintf(c.App.ErrWriter, "object %x: %v\n", id, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d objects were not deleted", failed, len(ids))
	}
	return nil
}
