# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes and fills a database by an old release of the Python Winery.

    old_winery.py RELEASE DSN BASE_DIRECTORY SHARD_MAX_SIZE DIR

It adds each file's content. Where the release has directory pools, it packs two
of the shards that are full by then and drops one's table. It deletes objects in
shards of every state, and prints as JSON the state of each shard and the ids of
the deleted objects.
"""

import hashlib
import json
import os
import pathlib
import sys

import psycopg.conninfo
from swh.core.db.db_utils import initialize_database_for_module
from swh.objstorage.backends.winery.sharedbase import SharedBase
from swh.objstorage.factory import get_objstorage

release, dsn, base_directory, max_size, folder = sys.argv[1:]
pool = {"type": "directory", "base_directory": base_directory, "pool_name": "shards"}
config = {
    "database": {"db": dsn},
    "shards": {"max_size": int(max_size)},
    "packer": {"pack_immediately": False, "clean_immediately": False},
}
if release == "3.0.0":
    config = {
        "base_dsn": dsn,
        "shard_max_size": int(max_size),
        "throttle_read": 10**9,
        "throttle_write": 10**9,
        "pack_immediately": False,
    }
elif release == "5.2.0":
    config |= {"shards_pool": pool, "throttler": {"max_read_bps": 10**9, "max_write_bps": 10**9}}
elif release == "6.2.0":
    config |= {"shards_pool": pool}
else:
    config |= {"shards_pools": [pool], "shards_active_pool": "shards"}

server = psycopg.conninfo.conninfo_to_dict(dsn)
os.environ["PGPASSWORD"] = server.get("password", "")  # swh.core forgets that of the DSN
initialize_database_for_module("objstorage.backends.winery", SharedBase.current_version, **server)
storage = get_objstorage("winery", allow_delete=True, **config)
ids = []
for path in sorted(pathlib.Path(folder).iterdir()):
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).digest()
    storage.add(content, {"sha256": sha256})
    assert storage.get({"sha256": sha256}) == content
    ids.append(sha256)
storage.on_shutdown()

if release == "5.2.0":
    from swh.objstorage.backends.winery import objstorage as daemons
elif release != "3.0.0":
    from swh.objstorage.backends.winery import housekeeping as daemons
base = SharedBase(base_dsn=dsn)
if release != "3.0.0":
    daemons.shard_packer(**config, stop_packing=daemons.stop_after_shards(2))
    packed = [name for name, state in base.list_shards() if state.value == "packed"]
    base.record_shard_mapped("old", packed[0])
    daemons.rw_shard_cleaner({"db": dsn}, min_mapped_hosts=1, stop_cleaning=daemons.stop_after_shards(1))

gone, left = [], {name: 4 for name, _ in base.list_shards()}
for sha256 in ids:
    name, _ = base.get(sha256)
    if left[name] > 0:
        left[name] -= 1
        # 3.0.0 wants the bare hash here.
        storage.delete(sha256 if release == "3.0.0" else {"sha256": sha256})
        gone.append(sha256.hex())
print(json.dumps({"states": [state.value for _, state in base.list_shards()], "gone": gone}))
