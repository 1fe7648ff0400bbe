# SPDX-License-Identifier: GPL-3.0-or-later
"""A role of the Python Winery, run until SIGTERM by the functions that its own commands call, with shorter pauses.

Usage: mixed_role.py CONFIG packer|mapper|cleaner|clean-deleted. The last ends by itself.
"""

import logging
import signal
import sys
import threading

import yaml
from swh.objstorage.backends.winery import housekeeping, roshard, settings
from swh.objstorage.backends.winery.pools import pool_from_settings
from swh.objstorage.backends.winery.sharedbase import SharedBase

stopped = False


def stop(*_):
    global stopped
    stopped = True


def is_stopped(*_):
    return stopped


def wait(*_):
    threading.Event().wait(0.1)


def main(path, role):
    with open(path) as file:
        given = yaml.safe_load(file)["objstorage"]
    config = settings.populate_default_settings(**{k: v for k, v in given.items() if k in settings.SETTINGS}, packer={})
    database = config["database"]
    pool = pool_from_settings(config["shards_pools"][0])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGTERM, stop)
    logging.info("at work")
    if role == "packer":
        try:
            housekeeping.shard_packer(
                **config, stop_packing=is_stopped, abort_packing=is_stopped, wait_for_shard=wait
            )
        except housekeeping.AbortOperation:
            logging.info("gave up a shard")
    elif role == "mapper":
        roshard.manage_images(pool, database["db"], False, wait_for_image=wait, stop_running=is_stopped)
    elif role == "cleaner":
        housekeeping.rw_shard_cleaner(database, min_mapped_hosts=1, stop_cleaning=is_stopped, wait_for_shard=wait)
    elif role == "clean-deleted":
        housekeeping.deleted_objects_cleaner(SharedBase(database["db"]), pool, is_stopped)


main(*sys.argv[1:])
