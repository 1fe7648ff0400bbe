# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves the Python Winery over HTTP, to see what metrics it sends.

Usage: winery.py DSN BASE_DIRECTORY SHARD_MAX_SIZE. Prints its URL; then packs one full shard for each line that it is
sent, and answers it with a line. Ends with its input.
"""

import sys
import threading

from swh.objstorage.api.server import app
from swh.objstorage.backends.winery.housekeeping import shard_packer
from werkzeug.serving import make_server

dsn, directory, size = sys.argv[1:]
winery = {
    "database": {"db": dsn},
    "shards_pools": [{"type": "directory", "pool_name": "shards", "base_directory": directory, "shard_max_size": int(size)}],
    "shards_active_pool": "shards",
}
app.config["objstorage"] = {"cls": "winery", "name": "winery", **winery}
server = make_server("127.0.0.1", 0, app)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}", flush=True)
for _ in sys.stdin:
    shard_packer(**winery, stop_packing=lambda packed: packed > 0)
    print("packed", flush=True)
