# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves a storage in memory with the server of swh.objstorage, prints its address, and ends with its stdin."""

import sys
import threading

from werkzeug.serving import make_server

from swh.objstorage.api.server import app

app.config["objstorage"] = {"cls": "memory", "primary_hash": "sha256", "allow_delete": True}
server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}", flush=True)
sys.stdin.read()
server.shutdown()
