// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"winery/internal/yaml11"
)

// Config is a validated configuration with every default filled in. It is
// never changed after Load and may be shared freely.
type Config struct {
	Path             string // the file it came from
	Database         Database
	Pools            []Pool        // at least one, with unique names
	ActivePool       string        // the pool of new shards; "" only where ReadOnly
	RWIdleTimeout    time.Duration // a writing shard is released after this long without an add
	ReadersCacheSize int           // how many open images a reader keeps, at least 1
	AllowDelete      bool
	Name             string // the storage's name in the HTTP API
	ReadOnly         bool
	Packer           Packer
	Winery           Winery
	Warnings         []string // of settings that are accepted but obsolete, for the log
}

// Pool returns the entry of that name; false if there is none.
func (c *Config) Pool(name string) (Pool, bool) {
	for _, p := range c.Pools {
		if p.Name == name {
			return p, true
		}
	}
	return Pool{}, false
}

// MaxSizes returns the size in bytes at which a shard is full, by pools.
func (c *Config) MaxSizes() map[string]int64 {
	sizes := map[string]int64{}
	for _, p := range c.Pools {
		sizes[p.Name] = p.ShardMaxSize
	}
	return sizes
}

// Database tells how PostgreSQL is reached.
type Database struct {
	DSN             string // may hold a password: not for logs
	ApplicationName string // "" leaves the choice to the role
}

// Packer has the packer's settings.
type Packer struct {
	// CreateImages is false where the mapper reserves images for the packer (--manage-rw-images).
	CreateImages bool
}

// Winery has the settings that the Python Winery does not know.
type Winery struct {
	Listen string // HOST:PORT or unix:/PATH
	TLS    TLS
	// Access is the path of the access file; "": every client has all rights.
	Access string
	// AllowUnprotectedNetwork lets clients of other hosts connect without TLS or
	// an access file.
	AllowUnprotectedNetwork bool

	Writers       int   // shards written at the same time, 1 to MaxWriters
	MaxObjectSize int64 // bytes, 1 to MaxObjectSize
	// Lease is how long a shard stays locked by a process that has died, or lost the database. 4 s to an hour.
	Lease time.Duration
	// DatabaseConnections bounds the connections of a process to PostgreSQL. 7 to 1000.
	DatabaseConnections int
	HashCache           HashCache
	// StallLimit is how long a role may make no progress before its process exits. 15 s to a day.
	StallLimit time.Duration
}

// HashCache says where a reader keeps the hash functions of images that are not open.
type HashCache struct {
	Directory string // "": nowhere
	Size      int64  // bytes, at most
}

// TLS names files in PEM. Without a Certificate there is no TLS.
type TLS struct {
	Certificate, Key string
	ClientCA         string // signs the certificates of clients; "": none is asked for
}

// MaxObjectSize is the largest Winery.MaxObjectSize in bytes: PostgreSQL takes an
// object and all that is sent with it as one message of at most 1 GiB.
const MaxObjectSize = 1<<30 - 64<<20

// MaxWriters bounds Winery.Writers: each writer holds a database connection
// and leaves a shard partly filled, so a larger number is probably a mistake.
const MaxWriters = 64

// PoolType tells where a pool keeps its images.
type PoolType string

// The pool types.
const (
	RBD       PoolType = "rbd"
	Directory PoolType = "directory"
	Mosaic    PoolType = "mosaic"    // a directory, whose images have the format Mosaic
	MosaicS3  PoolType = "mosaic-s3" // the same images in S3
)

// MaxMosaicObject is the size in bytes of the largest object of a mosaic or mosaic-s3 pool.
const MaxMosaicObject = 268_435_440

// Pool is an entry of shards_pools.
type Pool struct {
	Type         PoolType
	Name         string
	ShardMaxSize int64 // bytes of content that make a shard full

	// Of an rbd pool:
	DataPool            string
	FeaturesUnsupported []string // image features to leave off
	UseSudo             bool     // run the mapping command with sudo
	MapOptions          string   // further options of rbd device map, comma separated
	Map                 string   // MapKernel or MapLibrbd
	CephConf            string   // "" lets Ceph's library find it
	CephUser            string   // without "client."; "" lets Ceph's library choose

	// Of a directory or mosaic pool:
	BaseDirectory  string
	UsePermissions bool // an image's mode tells whether it is mapped

	// Of a mosaic-s3 pool:
	S3 S3

	// Of a mosaic or mosaic-s3 pool:
	Compression      bool
	CompressionLevel int  // as for libzstd
	Dictionary       bool // compress with a dictionary for each image
}

// The ways to map an image, for Pool.Map.
const (
	MapKernel = "kernel"
	MapLibrbd = "librbd"
)

// Load reads and validates the file at path. checkDSN checks the connection string; its
// error shows no password, and it may be nil. The error of Load joins one [*Error] for
// each fault that is not a warning.
func Load(path string, checkDSN func(dsn string) error) (*Config, error) {
	return result(Check(path, checkDSN))
}

// Check is Load that returns all faults, warnings included, in the order of the file.
// The configuration must not be used if a fault is not a warning.
func Check(path string, checkDSN func(dsn string) error) (*Config, []*Error) {
	const ways = "name the configuration by --config FILE, WINERY_CONFIG or SWH_CONFIG_FILENAME"
	if path == "" {
		return nil, []*Error{{Msg: "no configuration file: " + ways}}
	}
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if errors.Is(err, os.ErrNotExist) {
		return nil, []*Error{{File: path, Msg: "no such file: " + ways}}
	}
	if err != nil {
		if cause, ok := errors.AsType[*os.PathError](err); ok {
			err = cause.Err
		}
		return nil, []*Error{{File: path, Msg: "cannot be read: " + err.Error()}}
	}
	return parse(filepath.Clean(path), data, checkDSN)
}

// Parse is Load for a file's bytes, without checkDSN; file is its name for messages.
func Parse(file string, data []byte) (*Config, error) { return result(parse(file, data, nil)) }

func parse(file string, data []byte, checkDSN func(dsn string) error) (*Config, []*Error) {
	r := &report{file: file}
	document, err := yaml11.Parse(data)
	if syntax, ok := errors.AsType[*yaml11.Error](err); ok {
		r.fail(syntax.Line, "", syntax.Msg)
		return nil, r.faults
	}
	for _, k := range document.Repeated {
		r.warn(k.Line, yaml11.Shown(k.Value), "given more than once; the last one counts: remove the others")
	}
	c := &Config{Path: file}
	root := value{report: r, node: document.Root}
	if c.read(root); checkDSN != nil && c.Database.DSN != "" {
		if err := checkDSN(c.Database.DSN); err != nil {
			root.get("objstorage").get("database").get("db").fail("%v", err)
		}
	}
	return c, r.sorted()
}
