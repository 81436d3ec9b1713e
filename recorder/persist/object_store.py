"""The object store that the configuration describes; nothing of it is loaded where there is none."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING

from recorder.config.loader import with_objects
from recorder.errors import RecorderError, WrongUse

if TYPE_CHECKING:
    from recorder.config.model import Settings, Storage
    from storage.objects.s3 import S3


def configured_store(settings: Settings) -> S3 | None:
    """Return the object store that recordings go to, or that still has some; None if all of them stay in data_dir."""
    storage = settings.storage
    if storage.media == "s3" or (storage.endpoint is not None and with_objects(settings)):
        return store_of(storage)
    return None


def described_store(settings: Settings) -> S3:
    """Return the object store that is described, whether or not recordings go to it; raises WrongUse."""
    if settings.storage.endpoint is None:
        raise WrongUse(
            "No object store is configured.", "Set endpoint, bucket, access_key and secret_key in [storage]."
        )
    return store_of(settings.storage)


def release_store(settings: Settings) -> None:
    """Let nobody wait for the object store any more: the process is about to end."""
    if (store := configured_store(settings)) is not None:
        store.requests.close()


def leave_requests(settings: Settings) -> None:
    """End the process at once if a request to the object store still runs: its thread cannot be ended."""
    store = configured_store(settings)
    if store is not None and store.requests.running:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@cache
def store_of(storage: Storage) -> S3:
    """Return the one client of this process for an object store, so that all customers share what was seen of it."""
    from storage.objects.s3 import S3
    from storage.objects.store import StoreSettings

    return S3(
        StoreSettings(
            endpoint=storage.endpoint or "",
            bucket=storage.bucket or "",
            region=storage.region,
            prefix=storage.prefix,
            path_style=storage.path_style,
            ca=storage.ca,
            lock="" if storage.lock == "off" else storage.lock,
            secrets=lambda: _secrets(storage),
        )
    )


def _secrets(storage: Storage) -> tuple[str, str]:
    from recorder.runtime.secret_refs import secret_of
    from storage.errors import StoreAway

    try:
        return secret_of(storage.access_key or ""), secret_of(storage.secret_key or "")
    except RecorderError as problem:
        raise StoreAway(str(problem), problem.hint) from None
