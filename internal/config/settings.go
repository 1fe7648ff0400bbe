// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"winery/pool"
)

const (
	maxShardSize   = 1 << 50           // bytes
	maxIdleTimeout = 1e9 * time.Second // fits a time.Duration
)

// What a value must be, where two messages say it.
const (
	wantDSN      = "the connection string of the database"
	wantPools    = "a list of at least one pool"
	wantPoolType = "rbd, directory, mosaic or mosaic-s3"
)

const (
	doesNothing   = "does nothing any more; remove it"
	lockNeeded    = "left out: Winery needs this feature, which prevents two writers of one image; set map: librbd if the host's kernel (before 4.9) cannot map such images"
	shardsSection = "an obsolete section; move max_size to each pool as shard_max_size, and rw_idle_timeout to objstorage"
)

var (
	poolName = textThat(func(s string) bool { return s != "." && s != ".." && !strings.ContainsAny(s, "/@\x00") }, `a name other than "." and "..", without "/" and "@"`)
	// A file system and S3 take fewer names than Ceph: package pool says which.
	folderName = textThat(func(s string) bool { return pool.CheckName(s) == nil }, "1 to 64 letters, digits, '_' or '-', of which the first is a letter or digit")
	cephUser   = textThat(func(s string) bool { return !strings.HasPrefix(s, "client.") }, "the user's id without client.")
	address    = textThat(func(s string) bool { _, _, err := ParseListen(s); return err == nil }, wantAddress)
)

// read fills c from the root of a file. Sections of other tools are left alone.
func (c *Config) read(root value) {
	if !root.is("!!map") {
		root.fail("found %s, must be a mapping with an objstorage section", root.kind())
		return
	}
	root.apply(key("objstorage", required("a mapping with the storage's settings"), c.storage))
	root.apply(key("winery", c.Winery.read))
	c.fitsActivePool(root.get("winery").get("max_object_size"))
}

// fitsActivePool checks that the active pool can hold the largest object.
func (c *Config) fitsActivePool(v value) {
	if p, _ := c.Pool(c.ActivePool); (p.Type == Mosaic || p.Type == MosaicS3) && c.Winery.MaxObjectSize > MaxMosaicObject {
		v.reject(fmt.Sprintf("at most %d, the largest object that the active pool %s of type %s can hold", MaxMosaicObject, p.Name, p.Type))
	}
}

func (c *Config) storage(v value) bool {
	if !v.isMapping() {
		return false
	}
	var cls string
	if v.apply(key("cls", required("winery"), enum(&cls, "winery"))); cls == "" {
		return false // another storage has other keys
	}
	c.RWIdleTimeout, c.ReadersCacheSize, c.Name, c.Packer.CreateImages = 300*time.Second, 1000, "winery", true
	var maxSize int64
	return mapping(
		key("cls"),
		key("check_config"), // an argument of Python's factory, which Winery answers with true
		key("database", mapping(
			key("db", required(wantDSN), secret(&c.Database.DSN, wantDSN)),
			key("application_name", text(&c.Database.ApplicationName)),
		)),
		key("shards", obsolete(shardsSection), mapping(
			key("max_size", size(&maxSize, maxShardSize)),
			key("rw_idle_timeout", duration(&c.RWIdleTimeout, 0, maxIdleTimeout)),
		)),
		key("readonly", boolean(&c.ReadOnly)),
		key("shards_pools", required(wantPools), func(v value) bool { return c.pools(v, maxSize) }),
		key("shards_active_pool", nonEmpty(&c.ActivePool), c.activePool),
		key("packer", mapping(
			key("create_images", boolean(&c.Packer.CreateImages)),
			key("pack_immediately", obsolete(doesNothing)),
			key("clean_immediately", obsolete(doesNothing)),
		)),
		key("rw_idle_timeout", duration(&c.RWIdleTimeout, 0, maxIdleTimeout)),
		key("readers_cache_size", integer(&c.ReadersCacheSize, 0, 1<<20), c.cacheSize),
		key("allow_delete", boolean(&c.AllowDelete)),
		key("name", nonEmpty(&c.Name)),
		key("throttler", obsolete(doesNothing)),
	)(v)
}

func (c *Config) cacheSize(v value) bool {
	if c.ReadersCacheSize == 0 {
		c.ReadersCacheSize = 1000
		return obsolete("0 means the default of 1000")(v)
	}
	return true
}

// pools reads the pools. maxSize is the obsolete shards.max_size, 0 if it is not given.
func (c *Config) pools(v value, maxSize int64) bool {
	if !v.is("!!seq") || len(v.node.Content) == 0 {
		return v.fail("found %s, must be %s", v.kind(), wantPools)
	}
	for _, entry := range v.elements() {
		p := Pool{Name: "shards", ShardMaxSize: maxSize}
		if !p.read(entry) {
			p = Pool{}
		} else if _, taken := c.Pool(p.Name); taken {
			entry.get("pool_name").fail("found %q, must be a name that no other pool has", p.Name)
		}
		c.Pools = append(c.Pools, p)
	}
	return true
}

// read fills p, which has defaults. It returns false if the type is not known, and so the meaning of the other keys is not
// known either.
func (p *Pool) read(v value) bool {
	if !v.isMapping() {
		return false
	}
	v.apply(key("type", required(wantPoolType), enum((*string)(&p.Type), string(RBD), string(Directory), string(Mosaic), string(MosaicS3))))
	obsoleteSize := p.ShardMaxSize > 0
	settings := []setting{key("type"), key("pool_name", nonEmpty(&p.Name), p.hasName),
		key("shard_max_size", size(&p.ShardMaxSize, maxShardSize), required("a number of bytes, such as 107374182400 or 100GiB", &obsoleteSize))}
	directory := key("base_directory", required("the path of a directory"), nonEmpty(&p.BaseDirectory))
	switch p.Type {
	case RBD:
		p.UseSudo, p.Map = true, MapKernel
		settings = append(settings,
			key("data_pool_name", nonEmpty(&p.DataPool)),
			key("image_features_unsupported", p.features),
			key("use_sudo", boolean(&p.UseSudo)),
			key("map_options", text(&p.MapOptions)),
			key("map", enum(&p.Map, MapKernel, MapLibrbd)),
			key("ceph_conf", nonEmpty(&p.CephConf)),
			key("ceph_user", nonEmpty(&p.CephUser), cephUser),
		)
		defer func() { p.DataPool = cmp.Or(p.DataPool, p.Name+"-data") }()
	case Directory:
		p.UsePermissions = true
		settings = append(settings, directory, key("use_permissions", boolean(&p.UsePermissions)))
	case Mosaic:
		p.UsePermissions = true
		settings = append(settings, directory,
			key("use_permissions", obsolete("does nothing in a mosaic pool, which always uses permissions; remove it")))
	case MosaicS3:
		settings = append(settings, p.S3.keys()...)
	default:
		return false
	}
	if p.Type == Mosaic || p.Type == MosaicS3 {
		if v.get("pool_name").null() {
			p.Name = "mosaics"
		}
		settings = append(settings, key("compression_level", p.compressionLevel), key("dictionary", boolean(&p.Dictionary), p.canCompress))
	}
	return mapping(settings...)(v)
}

func (p *Pool) hasName(v value) bool {
	if p.Type == RBD {
		return poolName(v)
	}
	return folderName(v)
}

// features reads the list of the image features to leave off.
func (p *Pool) features(v value) bool {
	if !v.null() && !v.is("!!seq") {
		return v.reject("a list")
	}
	known := []string{"striping", "object-map", "fast-diff", "deep-flatten", "journaling"}
	for _, element := range v.elements() {
		switch feature := element.node.Value; {
		case feature == "exclusive-lock":
			element.reject(lockNeeded)
		case !element.is("!!str") || !slices.Contains(known, feature):
			element.reject("one of " + strings.Join(known, ", "))
		}
		p.FeaturesUnsupported = append(p.FeaturesUnsupported, element.node.Value)
	}
	return true
}

// compressionLevel reads a level. As for Python, none and null are no compression, and
// 0 is a level.
func (p *Pool) compressionLevel(v value) bool {
	if v.null() || v.is("!!str") && v.node.Value == "none" {
		return true
	}
	p.Compression = integer(&p.CompressionLevel, 0, 22)(v)
	return p.Compression
}

func (p *Pool) canCompress(v value) bool {
	return p.Compression || !p.Dictionary || v.fail("found true, must be false without a compression_level from 0 to 22")
}

// activePool checks that there is such a pool, unless the type of a pool is not known.
func (c *Config) activePool(v value) bool {
	var names []string
	for _, p := range c.Pools {
		names = append(names, p.Name)
	}
	want := "the name of a pool: " + strings.Join(names, " or ")
	switch {
	case len(names) == 0 || slices.Contains(names, ""):
		return true
	case slices.Contains(names, c.ActivePool):
		p, _ := c.Pool(c.ActivePool)
		return !p.S3.ReadOnly && !p.S3.Anonymous || v.reject("a pool that is neither read_only nor anonymous")
	case v.null():
		return required(want+"; or set readonly: true", &c.ReadOnly)(v)
	}
	return v.reject(want)
}

func (w *Winery) read(v value) bool {
	*w = Winery{
		Listen: "127.0.0.1:5003", Writers: 1, MaxObjectSize: 100 << 20,
		Lease: time.Minute, DatabaseConnections: 24, StallLimit: 15 * time.Minute,
		HashCache: HashCache{Size: 35_000_000_000},
	}
	ok := mapping(
		key("listen", nonEmpty(&w.Listen), address),
		key("tls", mapping(
			key("certificate", nonEmpty(&w.TLS.Certificate)),
			key("key", nonEmpty(&w.TLS.Key), together(&w.TLS.Certificate, &w.TLS.Key, "certificate and key")),
			key("client_ca", nonEmpty(&w.TLS.ClientCA)),
		)),
		key("access", nonEmpty(&w.Access)),
		key("allow_unprotected_network", boolean(&w.AllowUnprotectedNetwork)),
		key("writers", integer(&w.Writers, 1, MaxWriters)),
		key("max_object_size", size(&w.MaxObjectSize, MaxObjectSize)),
		key("lease", duration(&w.Lease, 4*time.Second, time.Hour)),
		key("database_connections", integer(&w.DatabaseConnections, 7, 1000)),
		key("hash_cache", mapping(
			key("directory", nonEmpty(&w.HashCache.Directory)),
			key("size", size(&w.HashCache.Size, 1<<50), func(v value) bool {
				return v.null() || w.HashCache.Directory != "" || v.fail("size must be given together with directory")
			}),
		)),
		key("stall_limit", duration(&w.StallLimit, 15*time.Second, 24*time.Hour)),
		key("verify_content", obsolete("does nothing any more: content is always verified; remove it")),
	)(v)
	network, address, err := ParseListen(w.Listen)
	if !ok || err != nil {
		return false // reported by a rule
	}
	if err := w.CheckExposure(network, address); err != nil {
		return v.get("listen").fail("%v", err)
	}
	return true
}
