// SPDX-License-Identifier: GPL-3.0-or-later

// Package storage opens the configured pools. It is the one place that knows
// which type of pool is which package and has which format of images.
package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"winery/format"
	"winery/internal/config"
	"winery/mosaic"
	"winery/pool"
	"winery/pool/directory"
	"winery/pool/s3"
	"winery/rbd"
	"winery/shard"
)

// Set holds open pools by their names.
type Set map[string]pool.Pool

// Open opens every pool of a configuration. An rbd pool connects at its first
// use, so Open does not fail while Ceph is unavailable.
//
// createImages reports whether the caller may create images, packer.create_images
// in the configuration; where not, a packer needs them to be reserved.
//
// No read is cached on local disk: that is for processes that serve reads.
func Open(configured []config.Pool, createImages bool) (Set, error) {
	return openAll(configured, settings{createImages: createImages})
}

// OpenToServe is Open for a process that serves reads and creates no images. It opens
// the caches that the configuration names. A pool whose cache cannot be opened works
// without it, and the log says so.
func OpenToServe(configured []config.Pool) (Set, error) {
	return openAll(configured, settings{cacheReads: true})
}

// settings are the choices of a process, for all pools.
type settings struct{ createImages, cacheReads bool }

func openAll(configured []config.Pool, s settings) (Set, error) {
	set := Set{}
	for _, c := range configured {
		p, err := open(c, s)
		if err != nil {
			return nil, errors.Join(err, set.Close())
		}
		set[c.Name] = p
	}
	return set, nil
}

func open(c config.Pool, s settings) (pool.Pool, error) {
	switch c.Type {
	case config.RBD:
		return rbd.New(rbd.Settings{
			PoolName: c.Name, Format: shard.Format{}, DataPool: c.DataPool, FeaturesUnsupported: c.FeaturesUnsupported, CreateImages: s.createImages,
			ShardMaxSize: c.ShardMaxSize, MapMode: c.Map, MapOptions: c.MapOptions, UseSudo: c.UseSudo,
			Conf: c.CephConf, User: c.CephUser,
		})
	case config.Directory:
		return files(c, shard.Format{})
	case config.Mosaic:
		return files(c, mosaics(c))
	case config.MosaicS3:
		return objects(c, mosaics(c), s.cacheReads)
	}
	return nil, fmt.Errorf("pool %s: type %q is not known", c.Name, c.Type)
}

func mosaics(c config.Pool) format.Format {
	return mosaic.Format{Zstd: c.Compression, Level: c.CompressionLevel, Dictionary: c.Dictionary}
}

// logInterval is how often the trouble of a store is logged, by each pool.
const logInterval = 10 * time.Second

func objects(c config.Pool, f format.Format, cacheReads bool) (pool.Pool, error) {
	if !cacheReads {
		c.S3.CacheDirectory, c.S3.CacheSize = "", 0
	}
	now := rate.Sometimes{Interval: logInterval}
	p, err := s3.New(s3.Settings{
		BaseURL: c.S3.BaseURL, PoolName: c.Name, ImageExtension: c.S3.ImageExtension, Format: f,
		Anonymous: c.S3.Anonymous, ReadOnly: c.S3.ReadOnly, TmpDirectory: c.S3.TmpDirectory,
		Endpoint: c.S3.Endpoint, Region: c.S3.Region, AccessKey: c.S3.AccessKey, SecretKey: c.S3.SecretKey, SessionToken: c.S3.SessionToken,
		CABundle: c.S3.CABundle, Insecure: c.S3.Insecure, Addressing: s3.Addressing(c.S3.Addressing),
		CacheDirectory: c.S3.CacheDirectory, CacheSize: c.S3.CacheSize,
		NoCache: func(err error) {
			slog.Warn("reads are not cached, and are slower; correct cache_directory or cache_size, name the folder in ReadWritePaths= of the unit, and restart the writer",
				"pool", c.Name, "cache_directory", c.S3.CacheDirectory, "cache_size", c.S3.CacheSize, "err", err)
		},
		Retrying: func(operation string, err error, pause time.Duration) {
			now.Do(func() {
				slog.Warn("request to the store failed, retrying", "pool", c.Name, "operation", operation, "err", err, "retry_in", pause)
			})
		},
	})
	if err != nil {
		return nil, err // not a nil *s3.Pool
	}
	return p, nil
}

func files(c config.Pool, f format.Format) (pool.Pool, error) {
	return directory.New(directory.Settings{
		BaseDirectory: c.BaseDirectory, PoolName: c.Name, Format: f, UsePermissions: c.UsePermissions,
		NoDirectIO: func(err error) {
			slog.Warn("file system without O_DIRECT: images are verified through the page cache", "pool", c.Name, "directory", c.BaseDirectory, "err", err)
		},
	})
}

// Close closes all pools. Images that they opened must have been closed.
func (s Set) Close() error {
	var errs []error
	for _, p := range s {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
