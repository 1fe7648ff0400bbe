// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/cleaner"
	"winery/internal/daemon"
)

var objectsCommand = &cli.Command{
	Name:      "objects",
	Usage:     "locate objects, erase deleted objects, list deletions, and restore damaged objects",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{{
		Name:   "clean-deleted",
		Usage:  "DESTRUCTIVE: erase deleted objects from images and index now, without waiting for winery-cleaner",
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
	erased, err := cleaner.New(cleaner.Options{Base: base, Pools: set, Log: log}).EraseDeleted(c.Context)
	_, printErr := fmt.Fprintf(c.App.Writer, "%d deleted objects erased\n", erased)
	return errors.Join(err, printErr)
}
