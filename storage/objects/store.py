"""The port to an object store: what a vault asks of it, and what it answers.

Names are relative to the prefix of the settings. Every method waits for the network: call it in a thread. An object
never changes: writing a name again writes the same bytes.
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
    """Where an object store is, and how to talk to it."""

    endpoint: str
    """URL without a path."""
    bucket: str
    """Name of the bucket."""
    secrets: Callable[[], tuple[str, str]] = field(repr=False, compare=False)
    """Reads access key and secret key; called again after the store has refused them."""
    region: str = "us-east-1"
    """Region that requests are signed for."""
    prefix: str = ""
    """What all names begin with; ends with / unless it is empty."""
    path_style: bool = False
    """Whether the bucket is in the path (host/bucket/name) and not in the host name."""
    ca: Path | None = None
    """PEM file of the authorities that may sign the store's certificate; None: those of the system."""
    lock: str = ""
    """Mode in which objects are locked against deletion, governance or compliance; "" if they are not."""


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
    """When its lock ends; None: it has a legal hold, which somebody must end."""


@dataclass(frozen=True, slots=True)
class Features:
    """What a store was seen to do (storage.objects.probe)."""

    range: bool
    """It returns the range that was asked for."""
    checksum: bool
    """It refuses bytes that do not match their SHA-256."""
    list: bool
    """It lists what was written, and nothing else."""
    delete: bool
    """A deleted object is gone."""
    versions: bool
    """It keeps what is overwritten or deleted as versions, and lists them."""
    lock: bool
    """It refuses to delete a locked version."""
    create_only: bool
    """It refuses to overwrite when asked to create."""


Known = Callable[[str], datetime | None]
"""Returns until when an object of this name is known to be locked; None: the store must be asked."""


def nothing_known(name: str) -> datetime | None:
    """Return None, so that the store is asked."""
    return None


class ObjectStore(Protocol):
    """What a vault needs of an object store. Every method may raise StoreAway."""

    @property
    def locks(self) -> bool:
        """Whether objects are to be locked against deletion."""

    def put(self, name: str, data: bytes | mmap, until: datetime | None = None) -> bool:
        """Write an object with one request; return whether the answer alone proves that the store has these bytes.

        `until`: when its lock ends; None: it has none.
        """

    def lock(self, name: str, until: datetime) -> None:
        """Lock an object at least until then; a lock is never shortened. Raises ObjectMissing."""

    def hold(self, name: str) -> None:
        """Put a legal hold on an object until `release`, whatever its lock says. Raises ObjectMissing."""

    def release(self, name: str) -> None:
        """End the legal hold of every version of an object."""

    def size(self, name: str) -> int | None:
        """Return the bytes of an object, None if there is none."""

    def read(self, name: str, size: int, take: Callable[[bytes], object]) -> None:
        """Hand all bytes of an object of this size to `take`, in order; raise ObjectMissing if there is none."""

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects whose names begin with `prefix`."""

    def remove(
        self, prefix: str, wanted: Callable[[str], bool], known: Known = nothing_known
    ) -> tuple[int, tuple[Kept, ...]]:
        """Delete every version of the wanted objects below `prefix`; return how many were seen, and which are kept.

        List everything first, then delete: a listing may skip objects if others are deleted between two of its pages.
        """

    def kept(self, prefix: str, wanted: Callable[[str], bool], known: Known = nothing_known) -> tuple[Kept, ...]:
        """Return the versions of the wanted objects that are still there, which only a lock or hold explains."""
