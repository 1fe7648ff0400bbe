// SPDX-License-Identifier: GPL-3.0-or-later

package writer

import (
	"fmt"
	"log/slog"

	"winery/internal/config"
)

// otherPools returns the sizes of the pools, other than the active one, whose standby
// shards are filled. It leaves out a pool whose shards could never be packed with what
// clients may add.
func otherPools(c *config.Config, log *slog.Logger) map[string]int64 {
	others := map[string]int64{}
	for _, p := range c.Pools {
		why := unpackable(p, c.Winery.MaxObjectSize)
		switch {
		case p.Name == c.ActivePool && why != "":
			log.Warn("shards of the active pool cannot be packed with this configuration", "pool", p.Name, "reason", why)
		case p.Name == c.ActivePool:
		case why != "":
			log.Warn("standby shards of a pool are not filled, because they could not be packed", "pool", p.Name, "reason", why)
		default:
			others[p.Name] = p.ShardMaxSize
		}
	}
	return others
}

// unpackable returns why a shard with objects of up to maxObjectSize bytes may never
// become an image in a pool; "" if it does.
func unpackable(p config.Pool, maxObjectSize int64) string {
	mosaic := p.Type == config.Mosaic || p.Type == config.MosaicS3
	switch {
	case mosaic && maxObjectSize > config.MaxMosaicObject:
		return fmt.Sprintf("winery.max_object_size is %d, and the pool holds objects of up to %d bytes", maxObjectSize, config.MaxMosaicObject)
	case p.S3.ReadOnly:
		return "read_only is true"
	case p.S3.Anonymous:
		return "anonymous is true"
	}
	return ""
}
