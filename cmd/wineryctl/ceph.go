// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/rbd"
	"winery/sharedbase"
)

var cephCommand = &cli.Command{
	Name:        "ceph",
	Usage:       "set up the users of Ceph",
	ArgsUsage:   "COMMAND",
	Subcommands: []*cli.Command{capsCommand},
	Action:      needSubcommand,
}

var capsCommand = &cli.Command{
	Name:  "caps",
	Usage: "print the commands that make a Ceph user for each role, with the caps that the role needs for the configured pools",
	Description: "Run the printed commands where the Ceph user client.admin works: `wineryctl ceph caps | sh`. Each user's keyring is written to the current folder. Run the commands\n" +
		"again after a change of the pools. The command connects neither to Ceph nor to the database.",
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "prefix", Value: "winery", Usage: "begin the names of all users with `NAME`: client.NAME-writer, …"},
		&cli.BoolFlag{Name: "manage-rw-images", Usage: "let the mapper create images, for winery-rbd-mapper --manage-rw-images"},
	},
	Before: noArguments,
	Action: cephCaps,
}

func cephCaps(c *cli.Context) error {
	log, err := daemon.Logger(c, c.App.ErrWriter)
	if err != nil {
		return err
	}
	cfg, err := configuration(c, log, nil)
	if err != nil {
		return err
	}
	var pools []string
	for _, p := range cfg.Pools {
		if p.Type == config.RBD {
			pools = append(pools, p.Name, p.DataPool)
		}
	}
	if pools == nil {
		return fmt.Errorf("%s has no pool of type rbd: no Ceph user is needed", c.String("config"))
	}
	script := "umask 077\n"
	writes := map[string]bool{
		sharedbase.UserPacker: true, sharedbase.UserMapper: c.Bool("manage-rw-images"), sharedbase.UserCleaner: true, sharedbase.UserOperator: true,
	}
	for _, user := range sharedbase.Users {
		caps := rbd.ReadCaps(pools...)
		if writes[user] {
			caps = rbd.WriteCaps(pools...)
		}
		name := c.String("prefix") + "-" + user
		script += fmt.Sprintf("ceph auth get-or-create client.%[1]s -o ceph.client.%[1]s.keyring\nceph auth caps client.%[1]s mon %[2]s osd %[3]s\n",
			name, shellQuote(caps.Mon), shellQuote(caps.OSD))
	}
	_, err = fmt.Fprint(c.App.Writer, script)
	return err
}

// shellQuote makes one word of a shell of s.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
