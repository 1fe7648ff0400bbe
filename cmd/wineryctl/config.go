// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/urfave/cli/v2"

	"winery/internal/config"
	"winery/internal/daemon"
	"winery/sharedbase"
)

var configCommand = &cli.Command{
	Name:      "config",
	Usage:     "check the configuration file",
	ArgsUsage: "COMMAND",
	Subcommands: []*cli.Command{{
		Name: "check", Usage: "print all faults of the configuration file, or a summary of its settings", ArgsUsage: "[FILE]",
		Description: "Without FILE, the command checks the file that --config or the environment names. It connects to no service, and\n" +
			"shows no password. The exit status is 0 if roles accept the file, also with warnings, and 78 if they refuse it.",
		Action: configCheck,
	}},
	Action: needSubcommand,
}

func configCheck(c *cli.Context) error {
	if c.NArg() > 1 {
		return daemon.UsageError("unexpected argument %q; see --help", c.Args().Get(1))
	}
	cfg, faults := config.Check(cmp.Or(c.Args().First(), c.String("config")), sharedbase.CheckDSN)
	errors := 0
	for _, fault := range faults {
		if !fault.Warning {
			errors++
		}
	}
	if errors == 0 {
		_, _ = fmt.Fprintf(c.App.Writer, "configuration %s: ok\n", cfg.Path)
	}
	for _, fault := range faults {
		severity := "error"
		if fault.Warning {
			severity = "warning"
		}
		_, _ = fmt.Fprintf(c.App.Writer, "%s: %v\n", severity, fault)
	}
	if errors > 0 {
		return daemon.UsageError("the configuration has %s: roles do not start with it", english.Plural(errors, "error", ""))
	}
	return summarise(c.App.Writer, cfg)
}

// summarise prints a line for the database, for each pool, for the settings of all roles and of each role, and for what
// clients need.
func summarise(w io.Writer, c *config.Config) error {
	database, err := sharedbase.DescribeDSN(c.Database.DSN)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w, "database: %s\n", database)
	for _, p := range c.Pools {
		var place string
		switch p.Type {
		case config.RBD:
			place = fmt.Sprintf("rbd, data pool %s, map %s", p.DataPool, p.Map)
		case config.Directory:
			place = "directory " + p.BaseDirectory
		case config.Mosaic:
			place = fmt.Sprintf("mosaic, directory %s, %s", p.BaseDirectory, compression(p))
		case config.MosaicS3:
			place = fmt.Sprintf("mosaic-s3, %s, %s, tmp_directory %s, cache %s",
				p.S3.BaseURL, compression(p), cmp.Or(p.S3.TmpDirectory, "none"), cmp.Or(p.S3.CacheDirectory, "none"))
		}
		active := ""
		if p.Name == c.ActivePool {
			active = ", active"
		}
		_, _ = fmt.Fprintf(w, "pool %s: %s, shard_max_size %s%s\n", p.Name, place, size(p.ShardMaxSize), active)
	}
	_, _ = fmt.Fprintf(w, "all roles: lease %v, stall_limit %v, database_connections %d\n",
		c.Winery.Lease, c.Winery.StallLimit, c.Winery.DatabaseConnections)
	_, _ = fmt.Fprintf(w, "writer: listen %s, writers %d, max_object_size %s, rw_idle_timeout %v, readers_cache_size %d, readonly %t, allow_delete %t\n",
		c.Winery.Listen, c.Winery.Writers, size(c.Winery.MaxObjectSize), c.RWIdleTimeout, c.ReadersCacheSize, c.ReadOnly, c.AllowDelete)
	hashes := "none"
	if c.Winery.HashCache.Directory != "" {
		hashes = fmt.Sprintf("%s, size %s", c.Winery.HashCache.Directory, size(c.Winery.HashCache.Size))
	}
	_, _ = fmt.Fprintf(w, "writer: hash_cache %s\n", hashes)
	_, _ = fmt.Fprintf(w, "clients: tls.certificate %s, tls.client_ca %s, access %s, allow_unprotected_network %t\n",
		cmp.Or(c.Winery.TLS.Certificate, "none"), cmp.Or(c.Winery.TLS.ClientCA, "none"), cmp.Or(c.Winery.Access, "none"), c.Winery.AllowUnprotectedNetwork)
	_, err = fmt.Fprintf(w, "packer: create_images %t\n", c.Packer.CreateImages)
	return err
}

func size(bytes int64) string {
	return fmt.Sprintf("%d (%s)", bytes, humanize.IBytes(uint64(bytes)))
}

func compression(p config.Pool) string {
	switch {
	case !p.Compression:
		return "not compressed"
	case p.Dictionary:
		return fmt.Sprintf("zstd level %d with a dictionary", p.CompressionLevel)
	}
	return fmt.Sprintf("zstd level %d", p.CompressionLevel)
}
