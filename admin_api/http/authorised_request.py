"""One request that was authorised, and how it is written into the audit log."""

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
    """The role that allows it; all of the token's if none does."""
    object: str
    """The id in the path as sent, "" if there is none."""
    daemon: Daemon
    """The running daemon."""
    part: str = ""
    """The id in the path of something that belongs to the object, as sent, "" if there is none."""
    look: Repeat = FIRST
    """Whether the page looks again at what it was shown, and that was written down a moment ago."""

    @property
    def customer(self) -> Customer:
        """The customer of the path, which is that of the token."""
        return self.principal.customer

    def parameters(self, declared: Sequence[Parameter]) -> dict[str, Any]:
        """Read the query; raises Problem 422."""
        return query_parameters.read(declared, self.http.query_params.multi_items())

    def no_parameters(self) -> None:
        """Check that there is no query; raises Problem 422."""
        self.parameters(())

    @asynccontextmanager
    async def well_formed(self) -> AsyncIterator[None]:
        """Read the request inside; what is not as described is noted as refused. Raises the Problem again."""
        try:
            yield
        except Problem:
            await self.note(REFUSED, "not as described")
            raise

    async def find(self, get: Callable[[str], Awaitable[T | None]]) -> T:
        """Return the object that the path names; raises Problem 404 if it is not there."""
        found = await get(self.object) if is_id(self.object) else None
        if found is None:
            raise await self.missing()
        return found

    async def missing(self) -> Problem:
        """Note and return that the object is not there."""
        await self.note(REFUSED, "not found")
        return not_found()

    async def settle_all(self) -> None:
        """Have calls that have just begun written to the index, so that a search finds them; raises Problem 503."""
        if not await self.daemon.settle_all(self.customer.name):
            await self.note(FAILED, "not in the index yet")
            raise unavailable("Some calls are not in the index yet. Ask again.")

    async def note(self, outcome: str, reason: str = "", object: str = "") -> None:
        """Write the audit log and wait until it would survive a power cut; raises Problem 503 if it cannot be written.

        Nothing is shown that was not written down before.
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
