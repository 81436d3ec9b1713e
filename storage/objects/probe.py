"""Try an object store by what it does to scratch objects, before it is trusted with recordings.

Headers prove nothing: stores were seen to answer 200 to bytes that do not fit their checksum, to echo a lock that they
do not keep, and to overwrite an object with the XML of a request for a hold. So each feature is what was done: refused,
returned, gone. Everything lies below `check/` and is removed at the end; the lock of a scratch version ends by itself.
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
LOCK_SECONDS = 15  # the scratch version's lock; beyond any sensible difference of clocks it would only last longer
PATIENCE = 5.0  # s after the end of the lock
NEEDED = ("list", "delete")
"""Without these nothing may be stored: what cannot be deleted for certain must not be stored at all."""

LACKING = {
    "range": "long recordings are fetched whole, not piece by piece",
    "checksum": "each object is proved by its ETag (MD5), or read back before the local copy goes",
    "list": "erasure could not find what to delete: this store cannot be used",
    "delete": "erased recordings would stay as ciphertext: this store cannot be used",
    "versions": "what is deleted or overwritten is gone at once; nothing guards against other users of the bucket",
    "lock": "[storage] lock cannot be used",
    "create_only": "nothing: names hold the checksum, so whoever writes a name again writes the same bytes",
}
"""What it means for the recorder that a store lacks a feature."""


def probe(store: S3, *, lock: bool = True) -> Features:
    """Try a store and remove what was written; raise StoreAway if it cannot even write and read an object.

    `lock`: also try a lock, which takes LOCK_SECONDS because the scratch version stays so long.
    """
    plain = S3(replace(store.settings))  # trusts nothing: it lists versions if there are any
    folder = f"{FOLDER}{os.urandom(8).hex()}/"
    try:
        return _try(plain, folder, lock=lock)
    finally:
        _clean(plain, folder)


def usable(features: Features, lock: str = "") -> bool:
    """Tell whether recordings may be stored there, under locks of this mode if it is not empty."""
    return all(getattr(features, name) for name in NEEDED) and (features.lock or not lock)


def lacking(features: Features) -> dict[str, str]:
    """Return what a store lacks, and what each means."""
    return {name: LACKING[name] for name, there in asdict(features).items() if not there}


def _try(store: S3, folder: str, *, lock: bool) -> Features:
    data = os.urandom(4096)
    name = f"{folder}plain"
    store.put(name, data)
    if _bytes(store, name, len(data)) != data:
        raise StoreAway("the object store returned other bytes than it was given", "this store cannot be used")
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
    """Tell whether a locked version is refused to be deleted, its lock can be extended, and a hold is kept too.

    Neither `?retention` nor `?legal-hold` is sent before the refusal: stores were seen to overwrite the object with it.
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
    """Return a client that sets locks; only for a store that has just refused to delete a locked version."""
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
    """Remove everything, waiting for the lock of the scratch version."""
    end = time.monotonic() + LOCK_SECONDS + PATIENCE
    with suppress(StoreAway):
        while store.remove(folder, lambda name: True)[1] and time.monotonic() < end:
            time.sleep(1.0)
