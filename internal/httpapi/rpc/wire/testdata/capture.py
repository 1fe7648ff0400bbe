# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes testdata/python: what the client of swh.objstorage sends, in both encodings, and what its server answers.

Usage: python testdata/capture.py, with an interpreter that has swh.objstorage.
"""

from datetime import timedelta
from pathlib import Path

from swh.core.api.serializers import json_dumps, msgpack_dumps
from swh.objstorage.api.client import RemoteObjStorage
from swh.objstorage.exc import ObjNotFoundError
from swh.objstorage.objstorage import objid_for_content

out = Path(__file__).parent / "python"
out.mkdir(exist_ok=True)


def write(name, value):
    (out / f"{name}.msgpack").write_bytes(msgpack_dumps(value))
    (out / f"{name}.json").write_text(json_dumps(value))


client = RemoteObjStorage("http://localhost")
client._post = lambda endpoint, data: write(client.name, data)
some, empty = b"winery\n", b""
some_id, empty_id = ({k: i[k] for k in sorted(i)} for i in map(objid_for_content, (some, empty)))

for client.name, call in {
    "check_config": lambda: client.check_config(check_write=True),
    "contains": lambda: some_id in client,
    "add": lambda: client.add(some, some_id),
    "restore_empty": lambda: client.restore(empty, {"sha256": empty_id["sha256"]}),
    "add_batch": lambda: client.add_batch([(some_id, some), (empty_id, empty)]),
    "get_batch": lambda: client.get_batch([some_id, empty_id]),
    "download_url": lambda: client.download_url(some_id, "attachment", timedelta(hours=-1)),
}.items():
    call()

write("answer_contents", [some, None, empty])
write("answer_summary", {"object:add": 200, "object:add:bytes": 5_000_000_000})
error = ObjNotFoundError(some_id)
write("answer_error", {
    "type": type(error).__name__, "module": type(error).__module__, "args": error.args, "message": "text \N{SNOWMAN}", "traceback": [],
})
