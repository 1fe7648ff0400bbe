// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// shardsSection is the old place of two settings.
const shardsSection = "shards"

// maxShardSize is the largest shard_max_size in bytes.
const maxShardSize = 1 << 50

// imageFeatures are the features that can be left off an RBD image.
var imageFeatures = []string{"striping", "exclusive-lock", "object-map", "fast-diff", "deep-flatten", "journaling"}

func readRoot(c *Config, root *section) {
	if root.require("objstorage", "a mapping with the storage's settings") {
		readObjstorage(c, root.section("objstorage"))
	}
	readWinery(c, root.section("winery"))
	// The root's other sections are other tools' business.
}

func readObjstorage(c *Config, s *section) {
	if !s.require("cls", "winery") || s.choice("cls", "", "winery") == "" {
		return // another storage has other keys
	}
	s.value("check_config") // an argument of Python's factory, which Winery answers with true

	c.Database = readDatabase(s.section("database"))
	old := readShards(s)
	c.ReadOnly = s.truth("readonly", false)
	c.ActivePool = s.word("shards_active_pool", "")
	var whole bool
	if c.Pools, whole = readPools(s, old.maxSize); whole {
		checkActivePool(s, c)
	}
	c.Packer = readPacker(s.section("packer"))
	c.RWIdleTimeout = time.Duration(s.seconds("rw_idle_timeout", old.idleTimeout) * float64(time.Second))
	c.ReadersCacheSize = readCacheSize(s)
	c.AllowDelete = s.truth("allow_delete", false)
	c.Name = s.word("name", "winery")
	if s.value("throttler") != nil {
		s.warn(s.key("throttler"), "does nothing any more; remove it")
	}
	s.done()
}

func readDatabase(s *section) Database {
	const may = "the connection string of the database"
	var db Database
	if s.require("db", may) {
		if db.DSN, _ = s.values["db"].(string); db.DSN == "" {
			s.fail(s.key("db"), "found %s, must be %s", kind(s.values["db"]), may) // never the value
		}
	}
	db.ApplicationName = s.text("application_name", "")
	s.done()
	return db
}

// obsolete has what the old shards section gives to settings that are left out.
type obsolete struct {
	maxSize     int64
	idleTimeout float64
}

func readShards(s *section) obsolete {
	shards := s.section(shardsSection)
	old := obsolete{
		maxSize:     shards.whole("max_size", 0, 1, maxShardSize, " of bytes"),
		idleTimeout: shards.seconds("rw_idle_timeout", 300),
	}
	shards.done()
	if s.values[shardsSection] != nil {
		s.warn(shards.path, "an obsolete section; move max_size to each pool as shard_max_size, and rw_idle_timeout to objstorage")
	}
	return old
}

// readPools reads the entries; whole is false if one had to be left out.
func readPools(s *section, oldMaxSize int64) (pools []Pool, whole bool) {
	const may = "a list of at least one pool"
	entries, _ := s.value("shards_pools").([]any)
	if len(entries) == 0 && s.require("shards_pools", may) {
		s.fail(s.key("shards_pools"), "found %s, must be %s", kind(s.values["shards_pools"]), may)
	}
	for i, entry := range entries {
		p := s.sub(fmt.Sprintf("shards_pools[%d]", i), entry)
		pool, ok := readPool(p, oldMaxSize)
		if slices.ContainsFunc(pools, func(other Pool) bool { return other.Name == pool.Name }) {
			p.reject("pool_name", pool.Name, "a name that no other pool has")
		}
		if ok {
			pools = append(pools, pool)
		}
	}
	return pools, len(pools) > 0 && len(pools) == len(entries)
}

// readPool reads one entry; false if it is not of a known type, and so the
// meaning of its other keys is not known either.
func readPool(s *section, oldMaxSize int64) (p Pool, ok bool) {
	const types = "rbd or directory"
	if s.values == nil || !s.require("type", types) {
		return Pool{}, false
	}
	switch found := s.values["type"]; found {
	case "rbd", "directory":
	case "mosaic", "mosaic-s3":
		s.fail(s.key("type"), "found %q, another image format, which this Winery does not read; must be %s", found, types)
		return Pool{}, false
	default:
		s.reject("type", found, types)
		return Pool{}, false
	}
	p.Type = PoolType(s.text("type", ""))
	p.Name = s.word("pool_name", "shards")
	if p.Name == "." || p.Name == ".." || strings.ContainsAny(p.Name, "/@\x00") {
		s.reject("pool_name", p.Name, `a name without "/" and "@"`)
	}
	if oldMaxSize > 0 || s.require("shard_max_size", "a whole number of bytes, at least 1") {
		p.ShardMaxSize = s.whole("shard_max_size", oldMaxSize, 1, maxShardSize, " of bytes")
	}
	if p.Type == RBD {
		readRBD(&p, s)
	} else {
		readDirectory(&p, s)
	}
	s.done()
	return p, true
}

func readRBD(p *Pool, s *section) {
	p.DataPool = s.word("data_pool_name", p.Name+"-data")
	p.FeaturesUnsupported = s.words("image_features_unsupported", imageFeatures)
	p.UseSudo = s.truth("use_sudo", true)
	p.MapOptions = s.text("map_options", "")
	p.Map = s.choice("map", MapKernel, MapKernel, MapLibrbd)
	p.CephConf = s.word("ceph_conf", "")
	p.CephUser = s.word("ceph_user", "")
	if strings.HasPrefix(p.CephUser, "client.") {
		s.reject("ceph_user", p.CephUser, "the user's id without client.")
	}
}

func readDirectory(p *Pool, s *section) {
	if s.require("base_directory", "the path of a directory") {
		p.BaseDirectory = s.word("base_directory", "")
	}
	p.UsePermissions = s.truth("use_permissions", true)
}

func checkActivePool(s *section, c *Config) {
	names := make([]string, len(c.Pools))
	for i, p := range c.Pools {
		names[i] = p.Name
	}
	may := "the name of a pool: " + strings.Join(names, " or ")
	switch {
	case c.ActivePool != "" && !slices.Contains(names, c.ActivePool):
		s.reject("shards_active_pool", c.ActivePool, may)
	case !c.ReadOnly:
		s.require("shards_active_pool", may+"; or set readonly: true")
	}
}

func readPacker(s *section) Packer {
	p := Packer{CreateImages: s.truth("create_images", true)}
	for _, name := range []string{"pack_immediately", "clean_immediately"} {
		if s.value(name) != nil {
			s.warn(s.key(name), "does nothing any more; remove it")
		}
	}
	s.done()
	return p
}

func readCacheSize(s *section) int {
	const size = 1000
	n := int(s.whole("readers_cache_size", size, 0, 1<<20, ""))
	if n == 0 {
		s.warn(s.key("readers_cache_size"), fmt.Sprintf("0 means the default of %d", size))
		return size
	}
	return n
}

func readWinery(c *Config, s *section) {
	c.Winery = Winery{
		Listen:              s.word("listen", "127.0.0.1:5003"),
		Writers:             int(s.whole("writers", 1, 1, MaxWriters, "")),
		MaxObjectSize:       s.size("max_object_size", 100<<20, MaxObjectSize),
		Lease:               time.Duration(s.whole("lease", 60, 4, 3600, " of seconds")) * time.Second,
		DatabaseConnections: int(s.whole("database_connections", 24, 7, 1000, "")),
		StallLimit:          time.Duration(s.whole("stall_limit", 900, 15, 86400, " of seconds")) * time.Second,
	}
	if s.value("verify_content") != nil {
		s.warn(s.key("verify_content"), "does nothing any more: content is always verified; remove it")
	}
	if _, _, err := ParseListen(c.Winery.Listen); err != nil {
		s.fail(s.key("listen"), "%v", err)
	}
	s.done()
}
