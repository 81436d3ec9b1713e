"""The interface of an object store, as a vault uses it.

Names are relative to the prefix of the settings. Every method waits for the network: call it in a thread. An object
never changes: writing to a name again writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from mmap import mmap
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Address and access settings of an object store."""

    endpoint: str
    """URL of the store, without a path."""
    bucket: str
    """Name of the bucket."""
    secrets: Callable[[], tuple[str, str]] = field(repr=False, compare=False)
    """Reads access key and secret key; called again after the store has refused them."""
    region: str = "us-east-1"
    """Region that requests are signed for."""
    prefix: str = ""
    """Prefix of all names; ends with / unless it is empty."""
    path_style: bool = False
    """Whether the bucket is in the path (host/bucket/name) instead of the host name."""
    ca: Path | None = None
    """PEM file of the authorities that may sign the store's certificate, None for those of the system."""
    lock: str = ""
    """Mode in which objects are locked against deletion, governance or compliance; "" if they are not locked."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A version that the store refuses to delete."""

    name: str
    until: datetime | None
    """When its lock ends; None if it has a legal hold, which somebody must end."""


@dataclass(frozen=True, slots=True)
class Features:
    """Features that a store was seen to have (storage.objects.probe)."""

    range: bool
    """It returns the requested range."""
    checksum: bool
    """It refuses bytes that do not match their SHA-256."""
    list: bool
    """It lists the written objects and no others."""
    delete: bool
    """It no longer has a deleted object."""
    versions: bool
    """It keeps overwritten and deleted objects as versions, and lists them."""
    lock: bool
    """It refuses to delete a locked version."""
    create_only: bool
    """It refuses to overwrite an object by a request to create it."""


Known = Callable[[str], datetime | None]
"""Returns until when the object with a name is known to be locked, None if the store must be asked."""


def nothing_known(name: str) -> datetime | None:
    """Return None, so that the store is asked for every object."""
    return None


class ObjectStore(Protocol):
    """The methods of an object store that a vault needs; each may raise StoreAway."""

    @property
    def locks(self) -> bool:
        """Return whether objects are to be locked against deletion."""

    def put(self, name: str, data: bytes | mmap, until: datetime | None = None) -> bool:
        """Write an object with one request; return whether the answer alone proves that the store has these bytes.

        `until`: when its lock ends, None for no lock.
        """

    def lock(self, name: str, until: datetime) -> None:
        """Lock an object at least until `until`, never shortening a lock; raises ObjectMissing."""

    def hold(self, name: str) -> None:
        """Put a legal hold on an object until `release`, independently of its lock; raises ObjectMissing."""

    def release(self, name: str) -> None:
        """End the legal hold of every version of an object."""

    def size(self, name: str) -> int | None:
        """Return the size of an object in bytes, None if there is no such object."""

    def read(self, name: str, size: int, take: Callable[[bytes], object]) -> None:
        """Pass all bytes of an object of this size to `take`, in order; raise ObjectMissing if it does not exist."""

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects whose names begin with `prefix`."""

    def remove(
        self, prefix: str, wanted: Callable[[str], bool], known: Known = nothing_known
    ) -> tuple[int, tuple[Kept, ...]]:
        """Delete every version of the wanted objects below `prefix`; return how many were found, and which are kept.

        Lists everything before deleting: a listing may skip objects if others are deleted between two of its pages.
        """

    def kept(self, prefix: str, wanted: Callable[[str], bool], known: Known = nothing_known) -> tuple[Kept, ...]:
        """Return the remaining versions of the wanted objects, each kept by a lock or a hold."""
