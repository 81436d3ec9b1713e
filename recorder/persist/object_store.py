"""The object stores that the configuration describes; nothing of it is loaded where there is none."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from recorder.config.loader import has_objects
from recorder.config.model import Customer, Settings, Storage
from recorder.errors import RecorderError, WrongUse

if TYPE_CHECKING:
    from storage.objects.s3 import S3


def configured_store(settings: Settings, customer: Customer) -> S3 | None:
    """Return the object store that has, or may have, recordings of a customer; None if all of them are in data_dir."""
    storage = settings.storage_of(customer)
    if storage.media == "s3" or (storage.endpoint is not None and has_objects(settings, customer.name)):
        return store_of(storage)
    return None


def configured_stores(settings: Settings) -> list[S3]:
    """Return the object stores of all customers, each once."""
    found = (configured_store(settings, customer) for customer in settings.customers)
    return list(dict.fromkeys(store for store in found if store is not None))


def described_stores(settings: Settings) -> list[S3]:
    """Return every object store that is described, in use or not; raises WrongUse if there is none."""
    found = list(dict.fromkeys(store_of(each) for each in settings.stores if each.endpoint is not None))
    if not found:
        raise WrongUse(
            "No object store is configured.", "Set endpoint, bucket, access_key and secret_key in [storage]."
        )
    return found


def release_stores(settings: Settings) -> None:
    """Let nobody wait for an object store any more: the process is about to end."""
    for store in configured_stores(settings):
        store.requests.close()


def leave_requests(settings: Settings) -> None:
    """End the process at once if a request to an object store still runs: its thread cannot be ended."""
    if any(store.requests.running for store in configured_stores(settings)):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def store_of(storage: Storage) -> S3:
    """Return the one client of this process for an object store, so that all customers share what was seen of it."""
    return _client(replace(_NOWHERE, **{name: getattr(storage, name) for name in _OF_CLIENT}))


_OF_CLIENT = ("endpoint", "region", "bucket", "prefix", "access_key", "secret_key", "path_style", "ca", "lock")
_NOWHERE = Storage()


@cache
def _client(storage: Storage) -> S3:
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
