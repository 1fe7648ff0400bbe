# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads, writes and deletes in shard images by swh.shard.

    interop.py write IMAGE N      an image of test objects 0 … N-1
    interop.py read IMAGE N [I…]  it must hold test objects 0 … N-1, but for those numbered I
    interop.py delete IMAGE I…    deletes test objects
"""
import hashlib
import sys

from swh.shard import Shard, ShardCreator


def content(i):
    if i == 0:
        return b""
    size = 16 + i * 7919 % 5000 if i % 30000 else (10 << 20) + i
    return (hashlib.sha256(b"object %d" % i).digest() * (size // 32 + 1))[:size]


def key(i):
    return hashlib.sha256(content(i)).digest()


def write(image, n):
    with ShardCreator(image, n) as shard:
        for i in range(n):
            shard.write(key(i), content(i))


def read(image, n, *deleted):
    with Shard(image) as shard:
        for i in range(n):
            if i not in deleted:
                assert shard.lookup(key(i)) == content(i), f"object {i} differs"
        for absent in [key(i) for i in deleted] + [key(n + i) for i in range(100)]:
            try:
                shard.lookup(absent)
            except KeyError:
                continue
            raise AssertionError(f"{absent.hex()} was found")
        want = {key(i) for i in range(n) if i not in deleted}
        assert set(shard) == want, "the keys differ"
        assert shard.header.objects_count == n, "the number of objects differs"


def delete(image, *numbers):
    for i in numbers:
        Shard.delete(image, key(i))


command, image, *numbers = sys.argv[1:]
{"write": write, "read": read, "delete": delete}[command](image, *map(int, numbers))
print("done")
