// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/hex"
	"fmt"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
)

var getCommand = &cli.Command{
	Name:      "get",
	Usage:     "write an object to standard output",
	ArgsUsage: "SHA256",
	Flags:     []cli.Flag{&cli.StringFlag{Name: "o", Usage: "write to `FILE` instead; an existing FILE is replaced completely or stays unchanged"}},
	Action:    get,
}

func get(c *cli.Context) error {
	if c.NArg() != 1 {
		return daemon.UsageError("get takes one SHA256, found %d arguments", c.NArg())
	}
	id, err := parseID(c.Args().First())
	if err != nil {
		return err
	}
	winery, _, err := connect(c)
	if err != nil {
		return err
	}
	defer winery.Close()
	content, err := winery.Get(c.Context, id)
	if err != nil {
		return fmt.Errorf("object %x: %w", id, err)
	}
	if file := c.String("o"); file != "" {
		return replaceFile(file, content)
	}
	_, err = c.App.Writer.Write(content)
	return err
}

func parseID(text string) (id [32]byte, err error) {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != len(id) {
		return id, daemon.UsageError("%q is not a SHA256: it must be %d hexadecimal digits", text, 2*len(id))
	}
	return [32]byte(sum), nil
}

// parseIDs is parseID for several objects.
func parseIDs(texts []string) ([][32]byte, error) {
	ids := make([][32]byte, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = parseID(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
