# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Python Winery makes of configuration files.

    settings.py values CONFIG…   prints a JSON object of the values in effect for each
    settings.py shards CONFIG    prints the database's name, and the names of its shards
"""

import contextlib
import json
import sys

import click
from swh.core.config import read
from swh.objstorage.backends.winery.cli import winery
from swh.objstorage.factory import get_objstorage


def storage(config):
    """Reads the section as the commands do, which also move obsolete settings
    to their new places, and then makes the object storage of it."""
    with contextlib.redirect_stdout(sys.stderr), click.Context(winery, obj={"config": config}):
        winery.callback()
    section = config["objstorage"]
    # The commands ignore it; the object storage no longer accepts it.
    section.pop("throttler", None)
    return get_objstorage(**section)


def values(config):
    s = storage(config)
    return {
        "dsn": s.reader.base.dsn,
        "application_name": s.settings["database"]["application_name"] or "",
        "active_pool": s.settings.get("shards_active_pool") or "",
        "create_images": s.settings["packer"]["create_images"],
        # A reader has no writer to ask.
        "idle_timeout": s.writer.idle_timeout if s.writer else 300,
        "readers_cache_size": s.reader.ro_shards.capacity,
        "allow_delete": s.allow_delete,
        "name": s.name,
        "readonly": s.writer is None,
        "pools": [{**of(p, s.pools[p["pool_name"]]), "shard_max_size": p["shard_max_size"]} for p in s.settings["shards_pools"]],
    }


def of(settings, pool):
    common = {"type": settings["type"], "name": pool.pool_name}
    if settings["type"] == "directory":
        return common | {"base_directory": str(pool.base_directory), "use_permissions": pool.use_perms}
    if settings["type"] == "mosaic":
        return common | {"base_directory": str(pool.base_directory), "compression_level": pool.compression_level}
    if settings["type"] == "mosaic-s3":
        return common | {
            "compression_level": pool.compression_level,
            "base_url": pool.base_url,
            "image_extension": pool.extension,
            "tmp_directory": str(settings["tmp_directory"]),
            "read_only": pool.read_only,
            "endpoint": pool.client.meta.endpoint_url,
            "region": pool.client.meta.region_name,
        }
    return common | {
        "data_pool": pool.data_pool_name,
        "features_unsupported": list(pool.features_unsupported),
        "use_sudo": pool.use_sudo,
        "map_options": pool.map_options,
    }


def shards(config):
    base = storage(config).reader.base
    with base.pool.connection() as db:
        print(db.execute("SELECT current_database()").fetchone()[0])
    for name, _ in base.list_shards():
        print(name)
    base.pool.close()


command, *files = sys.argv[1:]
if command == "values":
    print(json.dumps([values(read(f)) for f in files]))
else:
    shards(read(files[0]))
