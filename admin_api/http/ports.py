"""Protocols that the daemon implements for this package: live calls, rendered media, health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from admin_api.errors import AdminApiError
from admin_api.http.messages import Message
from storage.calls.call_document import CallDocument
from storage.calls.call_index import CallRow
from storage.calls.call_row import Fresh
from storage.customer.customers import Customer

ABORT = "abort"
"""The name under which a request's ASGI state has a function that drops its connection, and everything that the client
has not received yet."""


class CannotRender(AdminApiError):
    """The media of a call cannot be rendered in this format; the message holds nothing personal."""

    def __init__(self, message: Message, *, later: bool = False) -> None:
        """`later`: the call is fine, but memory, time or a worker is lacking; try again later."""
        super().__init__(message)
        self.message = message
        self.later = later


class BrokenOff(AdminApiError):
    """The file cannot be sent to its end; close the connection, so that the client sees it is incomplete."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered file without a name on any disk."""

    descriptor: int  # can be read at any offset; the receiver closes it
    size: int  # bytes
    content_type: str


class Streamed(Protocol):
    """A file that is rendered while it is sent."""

    @property
    def size(self) -> int: ...  # bytes
    @property
    def content_type(self) -> str: ...
    @property
    def tag(self) -> str: ...  # strong validator

    def chunks(self, begin: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from begin to end, rendered as they are read, once; raises BrokenOff."""

    def close(self) -> None:
        """Release it; may be called midway and more than once."""


class Daemon(Protocol):
    """The running daemon as the admin API uses it."""

    def document(self, customer: str, call: str) -> CallDocument | None:
        """Return the newest document of a live call, None if it is not or no longer live."""

    async def documents(
        self, customer: str, calls: Sequence[str], *, measured: bool = False
    ) -> dict[str, CallDocument]:
        """Return the newest documents of the live ones among these calls, with the bytes stored so far.

        `measured`: include current quality figures.
        """

    async def unwritten(self, customer: Customer, call: str | None = None) -> Sequence[Fresh]:
        """Return a customer's calls, or one call, if not in the index yet; ask before you read the index."""

    def pause(self, customer: str, call: str) -> bool:
        """Pause the recording; False if there is no such live call."""

    def resume(self, customer: str, call: str) -> bool:
        """Resume the recording; False if there is no such live call."""

    async def render(self, customer: Customer, row: CallRow, form: str) -> Rendered:
        """Decrypt and render a call; raises CannotRender."""

    def is_long(self, customer: Customer, row: CallRow, form: str) -> bool:
        """Return whether a call is so long that it must be sent while it is rendered, and can be."""

    async def stream(self, customer: Customer, row: CallRow) -> Streamed:
        """Open a long call to be rendered as WAV while it is sent; raises CannotRender."""

    async def settle(self, customer: str, call: str) -> bool:
        """Write a live call to the index now; False if that fails at the moment."""

    async def settle_all(self, customer: str) -> bool:
        """Write all calls of a customer to the index, so that a search misses none; False if that fails now."""

    def lacking(self, customer: str) -> bool:
        """Return whether the index of a customer is being rebuilt, so that a list may lack calls."""

    def sweep_terms(self) -> tuple[datetime, float]:
        """Return retention's current time, and the percentage of calls above which a sweep needs approval."""

    def not_ready(self) -> str | None:
        """Return why no calls are accepted, None while they are."""

    def unopened(self) -> int:
        """Return how many customers could not be opened yet; their calls are refused."""

    def metrics(self) -> bytes:
        """Return the Prometheus exposition text."""

    async def system(self, customer: str | None, *, node: bool) -> Mapping[str, Any]:
        """Return figures of a customer's calls and storage (None: no customer), and of the node if asked for."""

    def incidents(self, customer: str) -> Sequence[Mapping[str, Any]]:
        """Return the incidents of a customer, newest first."""
