# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads YAML documents as the Python Winery reads its configuration.

Standard input is a JSON list of documents, standard output a JSON list of what
each one is: {"value": …}, or {"error": …}.
"""

import datetime
import json
import math
import os
import struct
import sys
import tempfile

import yaml


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return {"date": True}
    if isinstance(value, int) and abs(value) >= 1 << 63:
        value = float(value)
    if isinstance(value, float):
        return {"float": "nan" if math.isnan(value) else struct.pack(">d", value).hex()}
    return value


def read(document):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "config.yml")
        with open(path, "wb") as f:
            f.write(document.encode())
        with open(path) as f:
            return yaml.safe_load(f)


answers = []
for document in json.load(sys.stdin):
    try:
        answers.append({"value": plain(read(document))})
    except (yaml.YAMLError, ValueError, KeyError) as error:
        answers.append({"error": str(error)})
json.dump(answers, sys.stdout)
