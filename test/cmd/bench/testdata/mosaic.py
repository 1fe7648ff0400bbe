# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures swh.mosaic, and prints objects, bytes, seconds and seconds of CPU.

    mosaic.py write IMAGE FILES               makes an image of the files that FILES lists
    mosaic.py read IMAGE FILES SECONDS        reads objects, in the order of FILES, for a time
    mosaic.py erase IMAGE FILES COUNT         erases the first COUNT objects, with one updater
    mosaic.py erase-each IMAGE FILES COUNT    the same, with an updater for each object

IMAGE is zstd of level 3. What is measured begins when the contents are in memory.
"""

import hashlib
import pathlib
import sys
import time

from swh.mosaic import IdxDescription, MosaicCreator, MosaicReader, MosaicUpdater

SHA256 = IdxDescription.SHA256FMPHGO


def write(image, objects):
    creator = MosaicCreator(image, [SHA256], compression_level=3)
    for key, content in objects:
        creator.add([key], content)
    creator.close()
    return len(objects), sum(len(content) for _, content in objects)


def read(image, objects, seconds):
    count = size = 0
    with MosaicReader(image, SHA256) as reader:
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            for key, _ in objects[:100]:
                size += len(reader.lookup(key))
                count += 1
            objects = objects[100:] + objects[:100]
    return count, size


def erase(image, objects, count):
    with MosaicUpdater(image) as updater:
        for key, _ in objects[: int(count)]:
            updater.delete([(SHA256, key)])
    return int(count), sum(len(content) for _, content in objects[: int(count)])


def erase_each(image, objects, count):
    for object in objects[: int(count)]:
        erase(image, [object], 1)
    return int(count), sum(len(content) for _, content in objects[: int(count)])


command, image, files, *arguments = sys.argv[1:]
contents = [pathlib.Path(file).read_bytes() for file in pathlib.Path(files).read_text().splitlines()]
objects = [(hashlib.sha256(content).digest(), content) for content in contents]
began, spent = time.monotonic(), time.process_time()
count, size = {"write": write, "read": read, "erase": erase, "erase-each": erase_each}[command](pathlib.Path(image), objects, *arguments)
print(count, size, time.monotonic() - began, time.process_time() - spent)
