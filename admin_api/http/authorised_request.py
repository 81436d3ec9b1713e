"""One authorised request, and how it is written to the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from admin_api.http import query_parameters
from admin_api.http.audit_dedup import Repeat
from admin_api.http.bearer import Principal
from admin_api.http.permissions import Action, is_id
from admin_api.http.ports import Daemon
from admin_api.http.problems import Problem, not_found, unavailable
from admin_api.http.query_parameters import Parameter
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.errors import StorageError

DONE = "done"
REFUSED = "refused"
FAILED = "failed"
FIRST = Repeat()
NOT_WRITTEN = "The audit log cannot be written, so nothing is shown or done."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AuthorisedRequest:
    """What a handler works with."""

    http: Request
    """The request itself."""
    principal: Principal
    """Who asks."""
    action: Action
    """What for."""
    role: str
    """The role that allows it; all roles of the token if none does."""
    object: str
    """The id in the path as sent, "" if there is none."""
    daemon: Daemon
    """The running daemon."""
    part: str = ""
    """The id in the path of a part of the object, as sent; "" if there is none."""
    look: Repeat = FIRST
    """Whether the page only refreshes a view whose audit entry was written within the last minute."""

    @property
    def customer(self) -> Customer:
        """The customer named in the path, which is the token's."""
        return self.principal.customer

    def parameters(self, declared: Sequence[Parameter]) -> dict[str, Any]:
        """Read the query; raises Problem 422."""
        return query_parameters.read(declared, self.http.query_params.multi_items())

    def no_parameters(self) -> None:
        """Check that there is no query; raises Problem 422."""
        self.parameters(())

    @asynccontextmanager
    async def well_formed(self) -> AsyncIterator[None]:
        """Log a refusal if the request read inside is invalid; raises the Problem again."""
        try:
            yield
        except Problem:
            await self.note(REFUSED, "not as described")
            raise

    async def find(self, get: Callable[[str], Awaitable[T | None]]) -> T:
        """Return the object that the path names; raises Problem 404 if it does not exist."""
        found = await get(self.object) if is_id(self.object) else None
        if found is None:
            raise await self.missing()
        return found

    async def missing(self) -> Problem:
        """Log that the object was not found; return the Problem 404."""
        await self.note(REFUSED, "not found")
        return not_found()

    async def settle_all(self) -> None:
        """Write calls that have just begun to the index, so that a search finds them; raises Problem 503."""
        if not await self.daemon.settle_all(self.customer.name):
            await self.note(FAILED, "not in the index yet")
            raise unavailable("Some calls are not in the index yet. Ask again.")

    async def note(self, outcome: str, reason: str = "", object: str = "") -> None:
        """Write an audit entry and wait until it is durable; raises Problem 503 if it cannot be written.

        Call it before anything is shown.
        """
        if self.look.quiet and outcome == DONE:
            return
        named = object or self.object
        act = Act.of(
            self.principal.actor,
            role=self.role,
            action=self.action.value,
            object=named if is_id(named) else "",
            outcome=outcome,
            reason=reason,
            source=self.principal.source,
        )
        try:
            await asyncio.wrap_future(self.customer.audit.append(act))
        except StorageError:
            raise unavailable(NOT_WRITTEN) from None
        if outcome == DONE:
            self.look.written()
