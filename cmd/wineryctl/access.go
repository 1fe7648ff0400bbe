// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"winery/internal/daemon"
	"winery/internal/httpapi/access"
)

var accessCommand = &cli.Command{
	Name:      "access",
	Usage:     "make tokens for clients of the writer, and check the access file",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{{
		Name:      "new",
		Usage:     "make a token for a client, and print the client's entry in the access file",
		ArgsUsage: "NAME",
		Description: "The token is printed once: give it to the client. The entry has only the token's SHA-256. Add the entry to the list " +
			"\"clients\" of the file that winery.access names, and run `systemctl reload winery-writer`.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "rights", Value: "read", Usage: "what the client may do: a `LIST` of read, write and delete, with commas"},
			&cli.StringFlag{Name: "expires", Usage: "the last `DAY` on which the token is valid, YEAR-MONTH-DAY (default: it does not expire)"},
		},
		Action: accessNew,
	}, {
		Name:      "check",
		Usage:     "check an access file",
		ArgsUsage: "FILE",
		Action:    accessCheck,
	}},
	Action: needSubcommand,
}

func accessNew(c *cli.Context) error {
	if c.NArg() != 1 {
		return daemon.UsageError("access new takes the NAME of one client")
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	token := base64.RawURLEncoding.EncodeToString(random)
	entry := access.Entry{
		Name: c.Args().First(), TokenSHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(token))),
		Rights: strings.Split(c.String("rights"), ","), Expires: c.String("expires"),
	}
	text, err := entry.Format()
	if err != nil {
		return daemon.UsageError("%w", err)
	}
	_, err = fmt.Fprintf(c.App.Writer, "token: %s\nentry in the access file:\n%s", token, text)
	return err
}

func accessCheck(c *cli.Context) error {
	if c.NArg() != 1 {
		return daemon.UsageError("access check takes one FILE")
	}
	if _, err := access.NewGuard(c.Args().First()); err != nil {
		return daemon.UsageError("%w", err)
	}
	_, err := fmt.Fprintln(c.App.Writer, c.Args().First()+": ok")
	return err
}
