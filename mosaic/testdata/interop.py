# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads, writes and deletes in mosaic images by swh.mosaic.

    interop.py write IMAGE METHOD N   an image of test objects 0 … N-1: METHOD is none,
                                      a level of zstd, or one and "dict": 3dict
    interop.py interrupt IMAGE METHOD N   the same, killed before the end
    interop.py read IMAGE N [I…]      it must hold test objects 0 … N-1, but for those numbered I
    interop.py delete IMAGE I…        deletes test objects
"""
import hashlib
import os
import sys
from pathlib import Path

from swh.mosaic import IdxDescription, MosaicCreator, MosaicReader, MosaicUpdater, create_zstd_dict

SHA256 = IdxDescription.SHA256FMPHGO
# Sizes of which EBML writes the last in so many bytes, stored as they are, or in frames.
NOISE = {50: 127, 51: 16383, 52: 2097151} | {i: 45 + i for i in range(60, 100)} | {i: 16383 - 200 + i for i in range(170, 200)}

END = b"".join(hashlib.sha256(b"line %d" % i).hexdigest().encode() + b"\n" for i in range(8))


def content(i):
    if i == 0:
        return b""
    if i == 45:  # no object compresses better
        return b"x" * 1_000_000
    seed = hashlib.sha256(b"object %d" % i).digest()
    if i in NOISE or i % 30000 == 0:  # does not compress
        size = NOISE.get(i, 3_200_000)
        return b"".join(hashlib.sha256(seed + b"%d" % n).digest() for n in range(size // 32 + 1))[:size]
    return b"int f%s(void);\n" % seed[:8].hex().encode() * (1 + i * 7919 % 100) + END


def key(i):
    return hashlib.sha256(content(i)).digest()


def begin(image, method, n):
    level = dictionary = None
    if method != "none":
        level = int(method.removesuffix("dict"))
    if method.endswith("dict"):
        dictionary = create_zstd_dict([content(i) for i in range(1, 200)], 8192)
    creator = MosaicCreator(Path(image), [SHA256], compression_level=level, compression_data=dictionary)
    for i in range(int(n)):
        creator.add([key(i)], content(i))
    return creator


def write(image, method, n):
    begin(image, method, n).close()


def interrupt(image, method, n):
    begin(image, method, n)
    print("done", flush=True)
    os._exit(0)


def read(image, n, *deleted):
    n, deleted = int(n), {int(i) for i in deleted}
    size = 0
    with MosaicReader(Path(image), SHA256) as reader:
        for i in range(n):
            if i not in deleted:
                assert reader.lookup(key(i)) == content(i), f"object {i} differs"
                size += len(content(i))
        for absent in [key(i) for i in deleted] + [key(n + i) for i in range(100)]:
            try:
                reader.lookup(absent)
            except KeyError:
                continue
            raise AssertionError(f"{absent.hex()} was found")
        want = {key(i) for i in range(n) if i not in deleted}
        assert set(reader.keys()) == want, "the keys differ"
        assert len(reader) == len(want), "the number of objects differs"
        assert reader.objects_total_size == size, "the size of the objects differs"


def delete(image, *numbers):
    with MosaicUpdater(Path(image)) as updater:
        for i in numbers:
            updater.delete([(SHA256, key(int(i)))])


command, image, *arguments = sys.argv[1:]
{"write": write, "interrupt": interrupt, "read": read, "delete": delete}[command](image, *arguments)
print("done")
