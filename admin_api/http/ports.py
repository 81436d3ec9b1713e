"""What this package needs from the daemon, as protocols: live calls, rendered media, health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from storage.calls.call_document import CallDocument
from storage.calls.call_index import CallRow
from storage.calls.call_row import Fresh
from storage.customer.customers import Customer


class CannotRender(Exception):
    """The media of a call cannot be turned into the wanted format; the text is plain and holds nothing personal."""

    def __init__(self, message: str, *, later: bool = False) -> None:
        """`later`: not because of the call, but for want of memory, time or a worker."""
        super().__init__(message)
        self.later = later


class BrokenOff(Exception):
    """What is being sent cannot be sent to its end; the connection is closed, so that nobody takes it for whole."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered file that has no name on any disk."""

    descriptor: int  # readable at any offset; the taker closes it
    size: int  # bytes
    content_type: str


class Streamed(Protocol):
    """A file that is made while it is sent."""

    @property
    def size(self) -> int: ...  # bytes
    @property
    def content_type(self) -> str: ...
    @property
    def tag(self) -> str: ...  # strong validator

    def chunks(self, begin: int, end: int) -> AsyncIterator[bytes]:
        """Give the bytes from begin to end, made as they are taken, once; raises BrokenOff."""

    def close(self) -> None:
        """Give it up, also in the middle and twice."""


class Daemon(Protocol):
    """The running daemon as the admin surface sees it."""

    def document(self, customer: str, call: str) -> CallDocument | None:
        """Return the newest document of a live call, None if it is not live (any more)."""

    async def documents(
        self, customer: str, calls: Sequence[str], *, measured: bool = False
    ) -> dict[str, CallDocument]:
        """Return the newest documents of those of these calls that are live, with the bytes that are stored so far.

        `measured`: with the figures of this moment.
        """

    async def unwritten(self, customer: Customer, call: str | None = None) -> Sequence[Fresh]:
        """Return what the index does not have yet of a customer, or of one call; asked for before the index is."""

    def pause(self, customer: str, call: str) -> bool:
        """Stop keeping what is said; False if there is no such live call."""

    def resume(self, customer: str, call: str) -> bool:
        """Keep again; False if there is no such live call."""

    async def render(self, customer: Customer, row: CallRow, form: str) -> Rendered:
        """Decrypt and render a call; raises CannotRender."""

    def is_long(self, customer: Customer, row: CallRow, form: str) -> bool:
        """Say whether a call is too long to be rendered before it is sent, and can be sent while it is."""

    async def stream(self, customer: Customer, row: CallRow) -> Streamed:
        """Open a long call to be rendered as WAV while it is sent; raises CannotRender."""

    async def settle(self, customer: str, call: str) -> bool:
        """Have a live call written to the index now; False if that does not work at the moment."""

    async def settle_all(self, customer: str) -> bool:
        """Have all calls of a customer in the index, so that a search misses none; False if that does not work now."""

    def lacking(self, customer: str) -> bool:
        """Say whether the index of a customer is being filled up, so that a list of calls may lack some."""

    def sweep_terms(self) -> tuple[datetime, float]:
        """Return the time that retention decides by, and the percentage above which a sweep asks first."""

    def not_ready(self) -> str | None:
        """Return why no calls are accepted, None while they are."""

    def metrics(self) -> bytes:
        """Return the Prometheus exposition text."""

    async def system(self, customer: str | None, *, node: bool) -> Mapping[str, Any]:
        """Return how a customer's calls and storage fare (None: of no customer), and the node if wanted."""

    def incidents(self, customer: str) -> Sequence[Mapping[str, Any]]:
        """Return the incidents of a customer, newest first."""
