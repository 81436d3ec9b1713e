"""Erasures (Art. 17): request one, show its state, approve another person's request.

The audit entry is written inside the transaction that files or approves: if it fails, nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NotRequired, TypedDict, cast

from msgspec import UNSET, Meta, UnsetType

from admin_api.calls.selection import ONE_WAY, CallIds, Conditions, one_way
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.permissions import FOLLOWERS, PRIVACY, Action, Role
from admin_api.http.problems import Fault, not_found
from admin_api.http.types import Count, Cursor, Given, Id, Limit, Listed, Party, Reason, Time, given, listed, word
from storage.calls.call_row import DEFAULT_LIMIT
from storage.erasure.erasure_rows import Erasure as StoredErasure
from storage.erasure.erasure_rows import State
from storage.ids import is_id
from storage.timestamps import rfc3339

_State = Annotated[State, Meta(description="approval, running, cut, waiting or done", examples=["done"])]
_Cause = Annotated[str, word(("request", "retention", "restored"))]


class ErasureQuery(Given):
    """The query of a list of erasures."""

    state: _State | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class ErasureRequest(Given, kw_only=True):
    """The calls to erase."""

    calls: CallIds | UnsetType = UNSET
    party: Party | UnsetType = UNSET
    query: Conditions | UnsetType = UNSET
    reason: Reason

    schema: ClassVar[Mapping[str, Any]] = {**ONE_WAY, "description": "Exactly one of `calls`, `party` and `query`."}

    def faults(self) -> Iterable[Fault]:
        """Require one way to select calls."""
        return one_way(self)

    @property
    def told(self) -> str:
        """Return the audit text: how calls are selected, without personal data."""
        if self.calls is not UNSET:
            return f"{len(dict.fromkeys(self.calls))} calls"
        return "party" if self.query is UNSET else "query"


class Counts(TypedDict):
    """How much was erased."""

    calls: Count


class KeyHolder(TypedDict):
    """A node that held the keys; one that is retired does not any more."""

    node: str
    retired: bool


class Locked(TypedDict):
    """An object of a call that an object store refuses to delete: ciphertext, which nothing opens any more."""

    call: Id
    object: NotRequired[str]
    until: Time | None


class Receipt(TypedDict):
    """The signed record of an erasure."""

    version: Literal[1, 2]
    customer: str
    erasure: Id
    cause: _Cause
    rule: str | None
    calls: list[Id]
    counts: Counts
    requested_by: str
    requested_at: Time
    approved_by: str | None
    approved_at: Time | None
    done_at: Time
    public_key: str
    signature: str
    locked: NotRequired[list[Locked]]
    holders: NotRequired[list[KeyHolder]]


class Erasure(TypedDict):
    """An erasure and its state."""

    id: Id
    state: Annotated[str, word(State)]
    cause: _Cause
    rule: str | None
    requested_at: Time
    requested_by: str
    approved_at: Time | None
    approved_by: str | None
    done_at: Time | None
    calls: Annotated[Count | None, Meta(description="Null in a list of finished erasures.")]
    receipt: Receipt | None
    waiting_for: NotRequired[
        Annotated[
            list[str],
            Meta(description="Only where several nodes hold the keys: names of those that have not erased it yet."),
        ]
    ]
    own: NotRequired[
        Annotated[
            bool,
            Meta(description="Only for a single erasure: true if the caller asked for it and so may not approve it."),
        ]
    ]


@endpoint(
    "POST",
    "/erasures",
    Action.ERASE,
    PRIVACY,
    status=202,
    conflict="No active waiver, or calls under legal hold; nothing was filed",
)
async def create(request: AuthorisedRequest, body: ErasureRequest) -> Erasure:
    """Ask for an erasure.

    The request is durable when the answer is sent; after a 409, nothing was filed.
    """
    if body.calls is UNSET:
        await request.settle_all()
    erasure = await request.customer.erasures.file(
        calls=None if body.calls is UNSET else tuple(dict.fromkeys(body.calls)),
        party=given(body.party),
        query=body.query.search if isinstance(body.query, Conditions) else None,
        reason=body.reason,
        by=request.principal.name,
        identity=request.principal.actor.identity,
        approval=request.customer.settings.approval,
        told=partial(request.note, DONE, body.told),
    )
    return shown(erasure)


@endpoint("GET", "/erasures", Action.ERASURES, FOLLOWERS)
async def list_erasures(request: AuthorisedRequest, query: ErasureQuery) -> Listed[Erasure]:
    """Erasures that are not done yet, oldest first; with state=done the finished ones, newest first, without their \
receipts."""
    found: Sequence[StoredErasure]
    if query.state is State.DONE:
        found, more = await request.customer.erasures.done(query.limit, query.cursor)
    else:
        every, more = await request.customer.erasures.open(), None
        found = [erasure for erasure in every if query.state in (None, erasure.state)]
    return listed([shown(erasure) for erasure in found], more)


@endpoint("GET", "/erasures/{id}", Action.ERASURE_STATE, FOLLOWERS)
async def view(request: AuthorisedRequest, id: str) -> Erasure:
    """State of an erasure, and its receipt."""
    erasure = await request.find(request.customer.erasures.get)
    by, identity = request.principal.name, request.principal.actor.identity
    own = await request.customer.erasures.own(id, by=by, identity=identity)
    return {**shown(erasure), "own": own}


@endpoint("POST", "/erasures/{id}/approve", Action.ERASURE_APPROVE, (Role.APPROVER,), conflict="No active waiver")
async def approve(request: AuthorisedRequest, id: str) -> Erasure:
    """Approve an erasure that somebody else asked for.

    One that no longer needs approval stays unchanged.
    """
    if not is_id(id):
        raise not_found("not found")
    erasure = await request.customer.erasures.approve(
        id,
        by=request.principal.name,
        identity=request.principal.actor.identity,
        told=partial(request.note, DONE, ""),
        settled=request.settle_all,
    )
    return shown(erasure)


def shown(erasure: StoredErasure) -> Erasure:
    """Return an erasure in the form of the API, without party and reason."""
    told: Erasure = {
        "id": erasure.id,
        "state": erasure.state.value,
        "cause": erasure.cause,
        "rule": erasure.rule,
        "requested_at": rfc3339(erasure.requested_at),
        "requested_by": erasure.requested_by,
        "approved_at": rfc3339(erasure.approved_at),
        "approved_by": erasure.approved_by,
        "done_at": rfc3339(erasure.done_at),
        "calls": erasure.calls,
        "receipt": cast("Receipt | None", erasure.receipt),
    }
    return {**told, "waiting_for": list(erasure.waiting_for)} if erasure.waiting_for else told
