"""The calls being recorded now: one entry a call, found by call id and by SIP session."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from media.receive.sockets import Pair
from media.spec import Former
from recorder.persist.control_part import ControlPart
from recorder.session.session import Recording
from recorder.workers.messages import Part
from sip.ua.events import SessionKey
from storage.customer.customers import Customer

NOBODY: frozenset[int] = frozenset()
"""No stream; one object for all calls."""
SPOOL_LABEL = "spool"
"""Of a recording's leaf (docs/formats/keytree.md)."""


@dataclass(slots=True)
class LiveCall:
    """A recording together with what the daemon holds open for it."""

    recording: Recording
    customer: Customer
    leaf: int
    session: SessionKey
    control: ControlPart | None = None
    early: tuple[tuple[int, bytes], ...] = ()  # control records from before the files exist
    part: Part | None = None  # the newest media part, until a worker has it
    media_part: int = 0  # number of the newest media part
    media_fd: int = -1
    spool_fd: int = -1  # the call's file in the runtime directory; of recorder.persist.checkpoint, which closes it
    pairs: dict[int, Pair] = field(default_factory=dict)  # stream number -> sockets
    # ports that went before its end: it may get one again, and whom it heard there it is to hear
    left: tuple[int, ...] = ()
    # of streams that are gone, with whom they heard; the store holds them until the call ends
    retired: tuple[tuple[Pair, Former | None], ...] = ()
    fd_name: str = ""  # in the descriptor store
    unkept: bool = False  # the store did not take the sockets: it was busy, and is asked again
    epoch: int = 0  # of the syncer when the files were made: data of an older epoch may be lost
    filed: bool = False  # its files may say that it exists
    started: bool = False  # a worker has it
    reached: bool = True  # the client is known to have our answer; False: it has not acknowledged it yet
    stranded: bool = False  # its worker died and no new part could be made yet
    pictured: frozenset[int] = NOBODY  # video streams a whole picture of which was asked for by INFO
    replaces: str | None = None  # the call that ends when the client has our answer to this one
    dirty: bool = False  # the checkpoint is older than the recording
    heard: float = field(default_factory=time.monotonic)  # when media (as a worker said) or a request last came
    probed: float = 0.0  # when the client was last asked whether the call exists
    unanswered: int = 0  # questions of that kind in a row that led nowhere
    people: int = 0  # hash of what `forms` were made of
    forms: str = field(default="", repr=False)  # search forms of the parties, joined by NUL: a fifth of a tuple's size
    lock: asyncio.Lock | None = None  # of `files`, once it was asked for

    @property
    def id(self) -> str:
        """Return the call id."""
        return self.recording.id

    @property
    def spool_key(self) -> bytes:
        """Give the key of what a media worker leaves for its successor; raises Forgotten if the leaf was cut."""
        return self.customer.keys.secret(self.leaf, SPOOL_LABEL)

    @property
    def files(self) -> asyncio.Lock:
        """Give the lock that is held while parts are ended."""
        self.lock = self.lock or asyncio.Lock()
        return self.lock

    @property
    def parts(self) -> list[str]:
        """Return the names of all parts, control first."""
        control = int(self.control.name[1:]) if self.control else 0
        return [*(f"c{n + 1}" for n in range(control)), *(f"m{n + 1}" for n in range(self.media_part))]

    def descriptors(self) -> list[int]:
        """Return those of all sockets, which stay ours."""
        return [
            descriptor
            for pair in (*self.pairs.values(), *(pair for pair, _ in self.retired))
            for descriptor in pair.filenos()
        ]

    def close_files(self) -> None:
        """Close the descriptors of the parts as they are; a second time does nothing."""
        if self.control:
            self.control.abandon()
        if self.media_fd >= 0:
            os.close(self.media_fd)
        self.media_fd = self.spool_fd = -1


class Live:
    """Registry of live calls."""

    def __init__(self) -> None:
        self._by_id: dict[str, LiveCall] = {}
        self._by_session: dict[SessionKey, LiveCall] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(list(self._by_id.values()))

    def add(self, call: LiveCall) -> None:
        """Enter a call."""
        if call.id not in self._by_id:
            self._counts.update(_counted(call))
        self._by_id[call.id] = call
        self._by_session[call.session] = call

    def remove(self, call: LiveCall) -> None:
        """Take a call out; a second time does nothing."""
        if self._by_id.pop(call.id, None):
            self._counts.subtract(_counted(call))
            for key in _counted(call):
                if not self._counts[key]:
                    del self._counts[key]
        self._by_session.pop(call.session, None)

    def of_source(self, address: str) -> int:
        """Return how many calls came from an address, in its normal form."""
        return self._counts["source", address]

    def of_customer(self, name: str) -> int:
        """Return how many calls a customer has."""
        return self._counts["customer", name]

    def by_session(self, session: SessionKey) -> LiveCall | None:
        """Return the call of a SIP session."""
        return self._by_session.get(session)

    def by_id(self, call: str) -> LiveCall | None:
        """Return a call by its id."""
        return self._by_id.get(call)


def _counted(call: LiveCall) -> tuple[tuple[str, str], ...]:
    return ("source", call.recording.source or ""), ("customer", call.customer.name)
