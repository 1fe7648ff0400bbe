# SPDX-License-Identifier: GPL-3.0-or-later
"""Uses the unmodified client of swh.objstorage with TLS, a token, and a client certificate.

Usage: protected.py URL CA TOKEN CERTIFICATE, the last with its key. The owner of the token may read and add, that of the certificate may read.
"""

import sys

from swh.objstorage.factory import get_objstorage
from swh.objstorage.objstorage import objid_for_content

url, ca, token, certificate = sys.argv[1:]


def connect(**session):
    return get_objstorage("remote", url=url, session_kwargs={"verify": ca, **session})


def refused(call, *args):
    try:
        call(*args)
    except PermissionError as e:
        return str(e)
    raise AssertionError("not refused")


content = b"from Python"
obj_id = objid_for_content(content)
loader = connect(headers={"Authorization": f"Bearer {token}"})
vault = connect(cert=certificate)
loader.add(content, obj_id)
assert loader.get(obj_id) == content
assert vault.get(obj_id) == content
assert obj_id in vault
assert "the right" in refused(vault.add, content, obj_id)
assert "the right" in refused(loader.delete, obj_id)
assert "needs a token" in refused(connect().get, obj_id)
assert "not known" in refused(connect(headers={"Authorization": "Bearer x"}).get, obj_id)
print("3 calls served, 4 refused by PermissionError with the reason")
