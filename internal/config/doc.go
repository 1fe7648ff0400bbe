// SPDX-License-Identifier: GPL-3.0-or-later

// Package config reads Winery's YAML file: the one that the Python Winery
// reads, with a section and a few pool settings of our own that Python ignores.
//
//	objstorage:
//	  cls: winery
//	  database:
//	    db: DSN                        # URL, key=value or service= form
//	    application_name: NAME
//	  shards_pools:
//	    - type: rbd                    # or directory
//	      pool_name: shards
//	      shard_max_size: 107374182400 # bytes
//	      data_pool_name: shards-data  # rbd, and so on to map_options
//	      image_features_unsupported: []
//	      use_sudo: true
//	      map_options: ""
//	      map: kernel                  # or librbd; ours
//	      ceph_conf: /etc/ceph/ceph.conf # ours
//	      ceph_user: admin             # ours
//	    - type: directory
//	      pool_name: cold
//	      shard_max_size: 107374182400
//	      base_directory: /srv/winery
//	      use_permissions: true
//	  shards_active_pool: shards
//	  packer: {create_images: true}
//	  rw_idle_timeout: 300             # seconds
//	  readers_cache_size: 1000         # images kept open
//	  allow_delete: false
//	  readonly: false
//	  name: winery
//	winery:                            # ours
//	  listen: 127.0.0.1:5003           # or unix:/path
//	  writers: 1
//	  max_object_size: 100MiB          # or a number of bytes
//	  database_connections: 24         # at most, of each process
//
// Other top-level sections belong to other tools and are left alone. Inside the
// two sections an unknown key is an error, because a misspelt setting that is
// silently left out is found only when it hurts. What older releases had and
// nothing reads any more (throttler, packer.pack_immediately,
// packer.clean_immediately, winery.verify_content) gives a warning, and so does the old shards section
// (max_size and rw_idle_timeout), whose values still count.
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
