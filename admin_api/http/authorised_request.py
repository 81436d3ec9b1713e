"""One request that passed the gate, and how it is written into the audit log."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from admin_api.http.audit_dedup import Look
from admin_api.http.bearer import Principal
from admin_api.http.permissions import Action, is_id
from admin_api.http.ports import Desk
from admin_api.http.problems import unavailable
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.errors import StorageError

DONE = "done"
REFUSED = "refused"
FAILED = "failed"
FIRST = Look()


@dataclass(frozen=True, slots=True)
class Asked:
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
    desk: Desk
    """The running daemon."""
    part: str = ""
    """The id in the path of something that belongs to the object, as sent, "" if there is none."""
    look: Look = FIRST
    """Whether the page looks again at what it was shown, and that was written down a moment ago."""

    @property
    def customer(self) -> Customer:
        """The customer of path and token: they are the same behind the gate."""
        return self.principal.customer

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
            raise unavailable("The audit log cannot be written, so nothing is shown or done.") from None
        if outcome == DONE:
            self.look.written()
