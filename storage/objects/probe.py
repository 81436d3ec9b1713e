"""Probing of an object store with scratch objects, before recordings are stored in it.

Response headers prove nothing. Some stores answer 200 although the bytes do not match their checksum, echo a lock that
they do not keep, or overwrite an object with the XML of a request for a legal hold. Each feature is therefore judged by
its effect: a request was refused, the right bytes came back, or an object was gone. All scratch objects are below
`check/` and are removed at the end; the lock of the scratch version expires by itself.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta

from storage.errors import ObjectMissing, StoreAway
from storage.objects.s3 import S3
from storage.objects.store import Features

FOLDER = "check/"
LOCK_SECONDS = 15  # of the scratch version; longer than the clocks of recorder and store may differ
DELETE_SECONDS = 5.0  # s during which deleting the scratch version is retried after its lock has expired
NEEDED = ("list", "delete")
"""Features without which a store is not used: an object that may be impossible to delete must not be stored."""

LACKING = {
    "range": "long recordings are fetched whole, not piece by piece",
    "checksum": "each object is proved by its ETag (MD5), or read back before the local copy goes",
    "list": "erasure could not find what to delete: this store cannot be used",
    "delete": "erased recordings would stay as ciphertext: this store cannot be used",
    "versions": "what is deleted or overwritten is gone at once; nothing guards against other users of the bucket",
    "lock": "[storage] lock cannot be used",
    "create_only": "nothing: a name contains the checksum, so writing it again writes the same bytes",
}
"""Consequence for the recorder if a store lacks a feature."""


def probe(store: S3, *, lock: bool = True) -> Features:
    """Return the features that a store was seen to have; raise StoreAway if it cannot write an object and read it back.

    Removes the scratch objects. `lock`: also try a lock, after which the scratch version can be deleted only when
    LOCK_SECONDS have passed.
    """
    plain = S3(replace(store.settings))  # relies on no feature: it lists versions if there are any
    folder = f"{FOLDER}{os.urandom(8).hex()}/"
    try:
        return _try(plain, folder, lock=lock)
    finally:
        _clean(plain, folder)


def usable(features: Features, lock: str = "") -> bool:
    """Return whether recordings may be stored in a store with these features; `lock`: the lock mode, "" for none."""
    return all(getattr(features, name) for name in NEEDED) and (features.lock or not lock)


def lacking(features: Features) -> dict[str, str]:
    """Return the features that a store lacks, each with the consequence for the recorder."""
    return {name: LACKING[name] for name, there in asdict(features).items() if not there}


def _try(store: S3, folder: str, *, lock: bool) -> Features:
    data = os.urandom(4096)
    name = f"{folder}plain"
    store.put(name, data)
    if _bytes(store, name, len(data)) != data:
        raise StoreAway("the object store returned bytes other than those written", "use another object store")
    listed = {each.name: each.size for each in store.listing(folder)} == {name: len(data)}
    wrong = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()
    return Features(
        range=_holds(lambda: store.range(name, 100, 300) == data[100:300]),
        checksum=_refused(lambda: store.put_with_sum(f"{folder}wrong", data, wrong)),
        list=listed,
        delete=_deletes(store, folder),
        versions=_keeps_versions(store, f"{folder}versions"),
        lock=lock and _locks(store, f"{folder}locked"),
        create_only=_refused(lambda: store.create(name, data)),
    )


def _deletes(store: S3, folder: str) -> bool:
    name = f"{folder}deleted"

    def gone() -> bool:
        store.put(name, b"deleted")
        store.remove(name, lambda found: True)
        return store.size(name) is None and not any(each.name == name for each in store.listing(folder))

    return _holds(gone)


def _keeps_versions(store: S3, name: str) -> bool:
    def kept() -> bool:
        store.put(name, b"first")
        store.put(name, b"second")
        return len(store.versions(name) or ()) >= 2

    return _holds(kept)


def _locks(store: S3, name: str) -> bool:
    """Return whether the store refuses to delete a locked version, extends its lock, and keeps a legal hold.

    `?retention` and `?legal-hold` are sent only after the store has refused once, because some stores overwrite the
    object with these requests.
    """
    until = datetime.now(UTC) + timedelta(seconds=LOCK_SECONDS)
    try:
        version = store.put_locked(name, b"locked", "governance", until)
    except StoreAway:
        return False
    if not version or not _refused(lambda: store.delete_version(name, version)) or store.size(name) is None:
        return False
    return _holds(lambda: _extends(store, name, until + timedelta(seconds=1)) and _keeps_hold(store, f"{name}-held"))


def _extends(store: S3, name: str, until: datetime) -> bool:
    _trusting(store).lock(name, until)
    return _bytes(store, name, 6) == b"locked"


def _keeps_hold(store: S3, name: str) -> bool:
    store.put(name, b"held")
    _trusting(store).hold(name)
    versions = store.versions(name) or []
    kept = all(_refused(lambda id=each.id: store.delete_version(name, id)) for each in versions)  # type: ignore[misc]
    kept = kept and len(versions) == 1 and _bytes(store, name, 4) == b"held"
    store.release(name)
    return kept and not store.remove(name, lambda found: True)[1]


def _trusting(store: S3) -> S3:
    """Return a client that may set locks, for a store that has just refused to delete a locked version."""
    seen = dict.fromkeys((each.name for each in fields(Features)), False)
    return S3(replace(store.settings, lock="governance"), Features(**{**seen, "lock": True}))


def _bytes(store: S3, name: str, size: int) -> bytes:
    got: list[bytes] = []
    store.read(name, size, got.append)
    return b"".join(got)


def _holds(claim: Callable[[], bool]) -> bool:
    try:
        return claim()
    except (StoreAway, ObjectMissing):
        return False


def _refused(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except StoreAway:
        return True
    return False


def _clean(store: S3, folder: str) -> None:
    """Remove all scratch objects; wait until the lock of the scratch version has expired."""
    end = time.monotonic() + LOCK_SECONDS + DELETE_SECONDS
    with suppress(StoreAway):
        while store.remove(folder, lambda name: True)[1] and time.monotonic() < end:
            time.sleep(1.0)
