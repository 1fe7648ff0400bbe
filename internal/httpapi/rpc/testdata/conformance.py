# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the unmodified client of swh.objstorage against a server of Winery.

Usage: conformance.py msgpack|json URL READ_ONLY_URL BROKEN_URL. The three servers: one that allows everything, one that
is read-only and does not allow deletions, and one whose storage is unavailable. The first holds a damaged object under the
SHA-256 of b"damaged". Prints a line for each check that passed, and at the end the number of requests to the first server;
an exception ends it with status 1.
"""

import collections
import hashlib
import sys
import time

from requests.adapters import HTTPAdapter
from swh.core.api import RemoteException, TransientRemoteException
from swh.core.api.serializers import json_dumps, msgpack_loads
from swh.objstorage.exc import Error, ObjCorruptedError, ObjNotFoundError, ReadOnlyObjStorageError
from swh.objstorage.factory import get_objstorage
from swh.objstorage.objstorage import objid_for_content

encoding, url, read_only_url, broken_url = sys.argv[1:]
requests = collections.Counter()  # to the first server, by endpoint


class JSON(HTTPAdapter):
    """Sends as JSON what the client encodes as msgpack, and asks for JSON; the client reads either."""

    def send(self, request, **kwargs):
        if request.body is not None:
            request.body = json_dumps(msgpack_loads(request.body)).encode()
            request.headers["Content-Length"] = str(len(request.body))
            request.headers["Content-Type"] = "application/json"
        request.headers["Accept"] = "application/json"
        return super().send(request, **kwargs)


def connect(url, **kwargs):
    client = get_objstorage("remote", url=url, **kwargs)
    if encoding == "json":
        client.session.mount(client.url, JSON())
    client.session.hooks["response"].append(answered)
    return client


def answered(response, **_):
    if response.request.method == "POST":
        want = {"json": "application/json", "msgpack": "application/x-msgpack"}[encoding]
        assert response.headers["Content-Type"].startswith(want), response.headers
    if response.url.startswith(url):
        requests[response.request.path_url] += 1


storage, read_only, broken = map(connect, (url, read_only_url, broken_url))


def object_of(content):
    return objid_for_content(content), content


def raised(kind, call, *args, **kwargs):
    """The exception of exactly that kind that the call must raise."""
    try:
        got = call(*args, **kwargs)
    except Exception as exc:
        assert type(exc) is kind, f"expected {kind}, got {exc!r}"
        return exc
    raise AssertionError(f"expected {kind}, got the answer {got!r}")


def check_config():
    assert storage.check_config(check_write=True) is True
    assert storage.check_config(check_write=False) is True
    assert read_only.check_config(check_write=False) is True
    assert read_only.check_config(check_write=True) is False


def index():
    assert storage._get("").startswith("SWH Objstorage API server: winery ")
    assert storage.name == "remote"
    assert storage.session.headers["User-Agent"].startswith("swh-objstorage/7.4.1 (swh-core/")


def add_get_contains():
    for content in (b"plain", b"\x00\xff" * 5000, b"x" * 70000, b"", "\N{SNOWMAN}".encode()):
        obj_id, _ = object_of(content)
        assert obj_id not in storage
        assert storage.add(content, obj_id) is None
        assert obj_id in storage
        assert {"sha256": obj_id["sha256"]} in storage
        assert storage.get(obj_id) == content
        assert storage.add(content, obj_id, check_presence=False) is None
        assert storage.restore(content, obj_id) is None
        assert storage.check(obj_id) is None


def large_object():
    # Python takes a minute for 100 MiB of base85.
    size = 100 if encoding == "msgpack" else 8
    content = hashlib.shake_128(b"winery").digest(1 << 20) * size
    obj_id, _ = object_of(content)
    start = time.monotonic()
    storage.add(content, obj_id)
    added = time.monotonic()
    assert storage.get(obj_id) == content
    print(f"{size} MiB: add {added - start:.2f} s, get {time.monotonic() - added:.2f} s", file=sys.stderr)
    if encoding == "json":
        return
    too_large = content + b"!"
    exc = raised(Error, storage.add, too_large, objid_for_content(too_large))
    assert "max_object_size" in exc.args[0], exc
    exc = raised(Error, storage.add, content + content, obj_id)
    assert "max_object_size" in exc.args[0], exc


def batches():
    objects = [object_of(b"batch %d" % i) for i in range(500)]
    size = sum(len(content) for _, content in objects)
    assert storage.add_batch(objects) == {"object:add": 500, "object:add:bytes": size}
    more = objects + [object_of(b"one more")]
    assert storage.add_batch((pair for pair in more), check_presence=False) == {"object:add": 1, "object:add:bytes": 8}
    assert storage.add_batch([]) == {"object:add": 0, "object:add:bytes": 0}
    ids = [obj_id for obj_id, _ in objects]
    assert storage.get_batch(ids) == [content for _, content in objects]
    assert storage.get_batch(i for i in [objid_for_content(b"no"), ids[0], objid_for_content(b"")]) == [None, b"batch 0", b""]
    assert storage.get_batch([]) == []


def missing_objects():
    obj_id, _ = object_of(b"missing")
    assert obj_id not in storage
    for call in (storage.get, storage.check, storage.delete):
        assert raised(ObjNotFoundError, call, obj_id).args == (obj_id,)
    short = {"sha256": obj_id["sha256"]}
    assert raised(ObjNotFoundError, storage.get, short).args == (short,)


def corrupted_objects():
    damaged, _ = object_of(b"damaged")
    assert damaged["sha256"].hex() in raised(ObjCorruptedError, storage.check, damaged).args[0]
    for algo in ("sha1", "sha1_git", "blake2s256"):
        wrong, content = object_of(b"plain")
        wrong[algo] = bytes(len(wrong[algo]))
        assert f"expected {algo} hash is 00" in raised(ObjCorruptedError, storage.check, wrong).args[0]


def damaged_in_batch():
    damaged, _ = object_of(b"damaged")
    plain, _ = object_of(b"plain")
    assert storage.get_batch([damaged, plain, damaged, objid_for_content(b"no")]) == [None, b"plain", None, None]


def multiplexer():
    """Reads from the second store while the first is unavailable, configured as in docs/from-python.md."""
    from swh.objstorage.multiplexer import DEFAULT_TRANSIENT_READ_EXCEPTIONS

    plain, content = object_of(b"plain")
    stores = [{"cls": "remote", "url": broken_url}, {"cls": "remote", "url": url}]
    default = get_objstorage("multiplexer", objstorages=stores, readonly=True)
    raised(TransientRemoteException, default.get, plain)
    transient = [*DEFAULT_TRANSIENT_READ_EXCEPTIONS, "swh.core.api.TransientRemoteException"]
    through = get_objstorage("multiplexer", objstorages=stores, readonly=True, transient_read_exceptions=transient)
    assert through.get(plain) == content
    through.reset_active_readers()


def plain_http():
    """Reads objects at /objects by the client for any HTTP server."""
    plain, content = object_of(b"plain")
    missing = objid_for_content(b"no")
    objects = get_objstorage("http", url=url + "/objects/", primary_hash="sha256", compression="none")
    assert plain in objects and missing not in objects
    assert objects.get(plain) == content
    raised(ObjNotFoundError, objects.get, missing)
    assert list(objects.get_batch([plain, missing, plain])) == [content, None, content]


def wrong_content():
    obj_id, content = object_of(b"right")
    exc = raised(Error, storage.add, b"wrong", obj_id)
    assert obj_id["sha256"].hex() in exc.args[0] and hashlib.sha256(b"wrong").hexdigest() in exc.args[0], exc
    raised(Error, storage.add_batch, [(obj_id, content), (obj_id, b"wrong")])
    assert obj_id not in storage


def wrong_ids():
    for call in (storage.__contains__, storage.get, storage.check, storage.delete):
        exc = raised(RemoteException, call, {"sha1": bytes(20)})
        assert exc.response.status_code == 400 and exc.args[0]["type"] == "KeyError", exc
        assert exc.args[0]["module"] == "builtins" and exc.args[0]["args"] == ["sha256"], exc
        for short in (b"", b"x", bytes(31), bytes(33)):
            assert "32" in raised(Error, call, {"sha256": short}).args[0]
        raised(Error, call, {"sha256": "x" * 32})
        raised(Error, call, b"x" * 32)
    exc = raised(RemoteException, storage.get_batch, [{"sha1": bytes(20)}])
    assert exc.args[0]["type"] == "KeyError", exc


def deletions():
    obj_id, content = object_of(b"to be deleted")
    storage.add(content, obj_id)
    assert storage.delete(obj_id) is True
    assert obj_id not in storage
    raised(ObjNotFoundError, storage.delete, obj_id)
    storage.add(content, obj_id)
    assert storage.get(obj_id) == content


def refused_changes():
    obj_id, content = object_of(b"read-only")
    for method, call in (
        ("add", lambda: read_only.add(content, obj_id)),
        ("add", lambda: read_only.add_batch([(obj_id, content)])),
        ("delete", lambda: read_only.delete(obj_id)),
    ):
        exc = raised(RemoteException, call)
        assert exc.args[0]["type"] == "ReadOnlyObjStorageError", exc
        assert exc.args[0]["module"] == "swh.objstorage.exc", exc
        again = ReadOnlyObjStorageError(*exc.args[0]["args"])
        assert again.method == method
    knows = connect(read_only_url, reraise_exceptions=[ReadOnlyObjStorageError])
    assert raised(ReadOnlyObjStorageError, knows.add, content, obj_id).method == "add"
    assert "allow_delete" in raised(PermissionError, broken.delete, obj_id).args[0]


def storage_away():
    obj_id, content = object_of(b"plain")
    for call in (
        lambda: broken.get(obj_id),
        lambda: obj_id in broken,
        lambda: broken.add(content, obj_id),
        lambda: broken.get_batch([obj_id]),
    ):
        exc = raised(TransientRemoteException, call)
        assert exc.response.status_code == 503 and exc.response.headers["Retry-After"], exc
        assert exc.args[0]["type"] == "ObjStorageAPIError", exc
    assert broken.check_config(check_write=True) is True
    through = get_objstorage("multiplexer", objstorages=[{"cls": "remote", "url": broken_url}])
    raised(TransientRemoteException, through.add, content, obj_id)  # it is not left out, and nothing stored


def download_url():
    from datetime import timedelta

    assert storage.download_url(objid_for_content(b"plain")) is None
    assert storage.download_url(objid_for_content(b"no"), "attachment", timedelta(hours=1)) is None


def unknown_endpoint():
    exc = raised(RemoteException, storage._post, "content/nothing", {})
    assert exc.response.status_code == 404
    exc = raised(Error, storage._get, "content/get")
    assert "POST" in exc.args[0]


for check in (
    check_config, index, add_get_contains, large_object, batches, missing_objects, corrupted_objects, damaged_in_batch,
    multiplexer, plain_http, wrong_content, wrong_ids, deletions, refused_changes, storage_away, download_url, unknown_endpoint,
):
    check()
    print(check.__name__)
del requests["/content/nothing"]
assert len(requests) == 10, requests
print(f"{len(requests)} endpoints, {sum(requests.values())} requests")
