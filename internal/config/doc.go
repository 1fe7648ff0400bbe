// SPDX-License-Identifier: GPL-3.0-or-later

// Package config reads Winery's YAML file. Python Winery reads the same file, and
// ignores the section and the keys of pools that are for Go Winery only.
//
//	objstorage:
//	  cls: winery
//	  database:
//	    db: DSN                        # URL, key=value or service= form
//	    application_name: NAME
//	  shards_pools:
//	    - type: rbd                    # or directory, mosaic, mosaic-s3
//	      pool_name: shards
//	      shard_max_size: 107374182400 # bytes, or 100GiB
//	      data_pool_name: shards-data  # rbd, and so on to map_options
//	      image_features_unsupported: []
//	      use_sudo: true
//	      map_options: ""
//	      map: kernel                  # or librbd; Go Winery only
//	      ceph_conf: /etc/ceph/ceph.conf # Go Winery only
//	      ceph_user: admin             # Go Winery only
//	    - type: directory
//	      pool_name: cold
//	      shard_max_size: 107374182400
//	      base_directory: /srv/winery
//	      use_permissions: true
//	    - type: mosaic
//	      pool_name: mosaics
//	      shard_max_size: 107374182400
//	      base_directory: /srv/winery
//	      compression_level: 3         # 0 to 22 as for zstd, where 0 is 3; none by default
//	      dictionary: false            # one for each image; Go Winery only
//	    - type: mosaic-s3
//	      pool_name: far
//	      shard_max_size: 107374182400
//	      base_url: s3://BUCKET/PREFIX
//	      compression_level: 3
//	      image_extension: ""
//	      anonymous: false
//	      read_only: false
//	      tmp_directory: /var/lib/winery/tmp
//	      boto3_config: {endpoint_url: "https://s3.example.org", region_name: us-east-1}
//	      addressing: path             # or virtual; Go Winery only
//	      cache_directory: /var/cache/winery # Go Winery only
//	      cache_size: 100GiB           # Go Winery only
//	  shards_active_pool: shards
//	  packer: {create_images: true}
//	  rw_idle_timeout: 300             # seconds, or 5m
//	  readers_cache_size: 1000         # images kept open
//	  allow_delete: false
//	  readonly: false
//	  name: winery
//	winery:                            # Go Winery only
//	  listen: 127.0.0.1:5003           # or unix:/path
//	  writers: 1
//	  max_object_size: 100MiB
//	  lease: 60s
//	  database_connections: 24         # at most, of each process
//	  hash_cache: {directory: /var/cache/winery, size: 35GB} # none by default
//	  stall_limit: 15m
//
// A duration is a number of seconds, or text with the units ms, s, m and h: 90,
// 90s, 1m30s. A size is a number of bytes, or text with a unit: 1000 B are 1 kB,
// 1024 B are 1 KiB, and so on to PB and PiB. Python Winery understands plain
// numbers only.
//
// Other top-level sections belong to other tools and are left alone. Inside the
// two sections an unknown key is an error, because a misspelt setting that is
// silently left out is found only when it hurts. Keys of older releases that have
// no effect any more (throttler, packer.pack_immediately,
// packer.clean_immediately, winery.verify_content) give a warning, and so does the
// old section shards (max_size and rw_idle_timeout), whose values still count.
//
// The file is read as PyYAML reads it, by YAML 1.1 (package yaml11). Nodes are
// read instead of structs decoded by the YAML library's strict mode, because that
// mode's errors lack the path of the key, and quote values, which may be
// passwords. Its scalars also differ from PyYAML's, and one file must not mean two
// things to the two programs that share it.
//
// [Load] reports everything that is wrong with a file at once, each error with
// the file, the line, the key's path, what was found and what it may be. The
// connection string is never shown, since it may hold a password; for the same
// reason no line of the file is quoted.
package config
