# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python Winery's own object storage, on trees of files.

    winery.py init DSN                        makes the database
    winery.py add CONFIG DIR                  adds each file's content, prints how many were new
    winery.py delete CONFIG ID,…              deletes objects
    winery.py compare CONFIG ID,… DIR         gets each file's content, but for those that must be gone; prints how many
    winery.py map CONFIG                      two rounds of the mapper
    winery.py erased CONFIG ID,…              no image may hold these; prints how many objects the images hold
"""

import os
import pathlib
import sys

import psycopg.conninfo
import yaml
from swh.core.db.db_utils import initialize_database_for_module
from swh.objstorage.backends.winery.roshard import manage_images
from swh.objstorage.backends.winery.sharedbase import SharedBase
from swh.objstorage.exc import ObjNotFoundError
from swh.objstorage.factory import get_objstorage
from swh.objstorage.objstorage import objid_for_content


def init(dsn):
    server = psycopg.conninfo.conninfo_to_dict(dsn)
    os.environ["PGPASSWORD"] = server.get("password", "")  # swh.core forgets that of the DSN
    initialize_database_for_module("objstorage.backends.winery", SharedBase.current_version, **server)


def contents(folder):
    for path in sorted(pathlib.Path(folder).iterdir()):
        content = path.read_bytes()
        yield objid_for_content(content), content


def ids(text):
    return [{"sha256": bytes.fromhex(i)} for i in text.split(",")]


def absent(call, *args):
    try:
        call(*args)
    except (ObjNotFoundError, KeyError):
        return
    raise AssertionError(f"{call} found {args}")


def add(storage, folder):
    objects = list(contents(folder))
    half = len(objects) // 2
    for obj_id, content in objects[:half]:
        assert obj_id not in storage
        storage.add(content, obj_id)
    new = half
    for i in range(half, len(objects), 30):
        new += storage.add_batch(objects[i : i + 30])["object:add"]
    assert storage.add_batch(objects) == {"object:add": 0, "object:add:bytes": 0}
    print(new)


def delete(storage, some):
    for obj_id in ids(some):
        assert storage.delete(obj_id) is True
        absent(storage.delete, obj_id)


def compare(storage, gone, folder):
    gone = ids(gone)
    compared = 0
    for obj_id, content in contents(folder):
        if {"sha256": obj_id["sha256"]} in gone:
            assert obj_id not in storage
            absent(storage.get, obj_id)
            continue
        assert obj_id in storage
        assert storage.get(obj_id) == content, obj_id
        storage.check(obj_id)
        compared += 1
    print(compared)


def map_images(storage):
    rounds = iter([False, False, True])
    for pool in storage.pools.values():
        manage_images(pool, storage.reader.base.dsn, False, lambda attempt: None, lambda: next(rounds))


def erased(storage, gone):
    keys = set()
    for pool in storage.pools.values():
        for name in pool.image_list():
            with pool.image_open(name) as image:
                keys.update(image)
    for obj_id in ids(gone):
        assert obj_id["sha256"] not in keys
    print(len(keys))


command, where, *args = sys.argv[1:]
if command == "init":
    init(where)
else:
    storage = get_objstorage(**yaml.safe_load(open(where))["objstorage"])
    try:
        {"add": add, "delete": delete, "compare": compare, "map": map_images, "erased": erased}[command](storage, *args)
    finally:
        storage.on_shutdown()
