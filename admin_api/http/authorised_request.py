"""One authorised request, and how it is written to the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from admin_api.http.audit_dedup import Repeat
from admin_api.http.bearer import Principal, Report
from admin_api.http.messages import Message
from admin_api.http.permissions import Action
from admin_api.http.ports import Daemon
from admin_api.http.problems import not_found, unavailable
from admin_api.http.refusals import refusal
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.errors import StorageError
from storage.ids import is_id

DONE = "done"
FIRST = Repeat()
NOT_WRITTEN = Message("problem.not-audited", "The audit log cannot be written, so nothing is shown or done.")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated sender and their request."""

    http: Request
    """The HTTP request; its headers say which part of a file is wanted."""
    principal: Principal
    """The authenticated sender."""
    daemon: Daemon
    """The running daemon."""
    report: Report
    """Receives failures that are not the caller's fault."""
    look: Repeat = FIRST
    """Whether the page only refreshes a view whose audit entry was written within the last minute."""


@dataclass(slots=True)
class AuthorisedRequest:
    """A request that its handler may carry out."""

    caller: Caller
    """The sender and their request."""
    action: Action
    """The action of the endpoint."""
    role: str
    """The role that allows it; all roles of the token if none does."""
    object: str
    """The first id in the path as sent, "" if there is none."""
    noted: bool = False
    """Whether the audit log has an entry about it."""

    @property
    def http(self) -> Request:
        """The HTTP request."""
        return self.caller.http

    @property
    def principal(self) -> Principal:
        """The authenticated sender."""
        return self.caller.principal

    @property
    def daemon(self) -> Daemon:
        """The running daemon."""
        return self.caller.daemon

    @property
    def customer(self) -> Customer:
        """The customer named in the path, which is the token's."""
        return self.principal.customer

    @asynccontextmanager
    async def audited(self) -> AsyncIterator[None]:
        """Log what the body does, unless the handler logged it, and a refusal that has a reason; raises Problem."""
        try:
            yield
        except Exception as error:
            problem = refusal(error)
            if problem is None:
                raise
            if problem.why:
                await self.note(problem.outcome, problem.why)
            raise problem from None
        if not self.noted:
            await self.note(DONE)

    async def find(self, get: Callable[[str], Awaitable[T | None]]) -> T:
        """Return the object that the path names; raises Problem 404 if it does not exist."""
        found = await get(self.object) if is_id(self.object) else None
        if found is None:
            raise not_found("not found")
        return found

    async def settle_all(self) -> None:
        """Write calls that have just begun to the index, so that a search finds them; raises Problem 503."""
        if not await self.daemon.settle_all(self.customer.name):
            again = Message("problem.calls-not-in-the-index", "Some calls are not in the index yet. Ask again.")
            raise unavailable(again, "not in the index yet")

    async def node_name(self, number: int) -> str:
        """Return the display name of one of several nodes; ? if it is no longer known."""
        node = await self.customer.nodes.of(number) if self.customer.nodes else None
        return node.name if node else "?"

    async def note(self, outcome: str, reason: str = "", object: str = "") -> None:
        """Write an audit entry and wait until it is durable; raises Problem 503 if it cannot be written.

        Call it before anything is shown; `audited` calls it for actions without an entry of their own.
        """
        self.noted = True
        look = self.caller.look
        if look.quiet and outcome == DONE:
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
        await append(self.customer, act)
        if outcome == DONE:
            look.written()


async def append(customer: Customer, act: Act) -> None:
    """Write an audit entry and wait until it is durable; raises Problem 503 if it cannot be written."""
    try:
        await asyncio.wrap_future(customer.audit.append(act))
    except StorageError:
        raise unavailable(NOT_WRITTEN) from None
