"""The retention rules: view and change them, and preview what they would erase."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypedDict

from msgspec import UNSET, Meta, UnsetType

from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import ADMIN, PRIVACY, Action
from admin_api.http.problems import Fault
from admin_api.http.types import Count, Given, Id, Time, given, right, said, word
from storage.calls.call_row import Direction
from storage.retention.decisions import Decided
from storage.retention.policy import MAX_DAYS, Policy, Wins
from storage.retention.rules import MAX_NAME, MAX_RULES, BadRule, RuleSpec, Stored, StoredRule, Unchanged, check
from storage.retention.sweep import Preview
from storage.timestamps import micros_rfc3339, rfc3339

_Days = Annotated[int, Meta(ge=0, le=MAX_DAYS)] | None
_Name = Annotated[str, said(MAX_NAME)] | None


class RuleRequest(Given, kw_only=True):
    """A rule as a client writes it."""

    id: _Name = None
    """Accepted so that an answer can be sent back; the recorder assigns ids."""
    days: _Days
    direction: Direction | None = None
    source: _Name = None
    party: _Name = None
    name: _Name = None

    schema: ClassVar[Mapping[str, Any]] = {
        "description": "`days` count from the end of the call, null keeps it for ever. `source`: address or network of "
        "the client, as calls show it. `party`: somebody who took part, in any spelling."
    }

    @property
    def spec(self) -> RuleSpec:
        """Return the rule as storage knows it."""
        return RuleSpec(self.days, self.direction, self.source, self.party, self.name or "")


_RULES = Message("reason.rules", "must be a list of at most {n} rules").of(n=MAX_RULES)
_Rules = Annotated[list[RuleRequest], Meta(max_length=MAX_RULES), right(_RULES)]


class RetentionPreviewRequest(Given):
    """Rules to try; members left out stay as they are in force."""

    rules: _Rules | UnsetType = UNSET
    default_days: _Days | UnsetType = UNSET
    """Days if no rule matches."""
    wins: Annotated[Wins, Meta(description="longest or shortest")] | UnsetType = UNSET
    """Which of several matching rules applies."""

    def faults(self) -> Iterable[Fault]:
        """Check what storage requires of rules."""
        try:
            check(self.specs, given(self.default_days))
        except BadRule as problem:
            yield problem.place, Message(f"rule-fault.{problem.fault.name.lower()}", problem.fault.value)

    @property
    def specs(self) -> tuple[RuleSpec, ...]:
        """Return the rules as storage knows them."""
        return tuple(rule.spec for rule in given(self.rules) or ())


class RetentionRequest(RetentionPreviewRequest, kw_only=True):
    """New rules; other members left out stay unchanged."""

    rules: _Rules


class Rule(TypedDict):
    """A rule with its id."""

    id: Id
    days: _Days
    direction: Annotated[str, word(Direction)] | None
    source: _Name
    party: _Name
    name: _Name


class Retention(TypedDict):
    """The rules of retention."""

    default_days: _Days
    wins: Annotated[str, word(Wins)]
    rules: list[Rule]
    changed_at: Time | None
    changed_by: str | None


class Due(TypedDict):
    """A call whose time is over."""

    id: Id
    rule: str | None
    ended_at: Time
    erase_after: Time


class RetentionPreview(TypedDict):
    """What rules would erase: `items` at once, `asks` only after approval."""

    at: Time
    calls: Count
    brake: bool
    items: list[Due]
    asks: list[Due]


EMPTY = RetentionPreviewRequest()


@endpoint("GET", "/retention", Action.RETENTION, PRIVACY)
async def view(request: AuthorisedRequest) -> Retention:
    """Rules of retention."""
    return shown(await request.customer.rules.get())


@endpoint("PUT", "/retention", Action.RETENTION_WRITE, ADMIN)
async def put(request: AuthorisedRequest, body: RetentionRequest) -> Retention:
    """Change the rules of retention.

    All rules are replaced; one with unchanged conditions keeps its id.
    """
    await request.note(DONE, f"{len(body.rules)} rules")
    stored = await request.customer.rules.put(
        body.specs,
        by=request.principal.name,
        default_days=Unchanged.YES if body.default_days is UNSET else body.default_days,
        wins=given(body.wins),
    )
    return shown(stored)


@endpoint("POST", "/retention/preview", Action.RETENTION_PREVIEW, PRIVACY)
async def preview(request: AuthorisedRequest, body: RetentionPreviewRequest = EMPTY) -> RetentionPreview:
    """What rules would erase.

    It shows what the next sweep would do, by the given rules or those in force.
    """
    policy = await _policy(request, body)
    now, percent = request.daemon.sweep_terms()
    found = await request.customer.retention.preview(now, percent, policy)
    await request.note(DONE)
    return await asyncio.to_thread(foreseen, found, now)  # a first sweep may take 100,000 calls


async def _policy(request: AuthorisedRequest, body: RetentionPreviewRequest) -> Policy | None:
    """Build the rules to try; None: those in force, with their ids."""
    stored = await request.customer.rules.get()
    days = stored.default_days if body.default_days is UNSET else body.default_days
    wins = given(body.wins) or stored.wins
    if body.rules is UNSET and (days, wins) == (stored.default_days, stored.wins):
        return None
    rules = tuple(rule.spec for rule in stored.rules) if body.rules is UNSET else body.specs
    return request.customer.rules.policy_of(rules, days, wins)


def shown(stored: Stored) -> Retention:
    """Return the rules of a customer in the form of the API."""
    return {
        "default_days": stored.default_days,
        "wins": stored.wins.value,
        "rules": [_rule(rule) for rule in stored.rules],
        "changed_at": rfc3339(stored.changed_at),
        "changed_by": stored.changed_by,
    }


def _rule(rule: StoredRule) -> Rule:
    spec = rule.spec
    return {
        "id": rule.id,
        "days": spec.days,
        "direction": None if spec.direction is None else spec.direction.value,
        "source": spec.source,
        "party": spec.party,
        "name": spec.name or None,
    }


def foreseen(preview: Preview, now: datetime) -> RetentionPreview:
    """Return a preview: `items` would be erased at once, `asks` only after approval."""
    due = list(map(_due, preview.due))
    return {
        "at": rfc3339(now),
        "calls": preview.total,
        "brake": preview.asks,
        "items": [] if preview.asks else due,
        "asks": due if preview.asks else [],
    }


def _due(due: Decided) -> Due:
    return {
        "id": due.id,
        "rule": due.rule,
        "ended_at": micros_rfc3339(due.ended),
        "erase_after": micros_rfc3339(due.until),
    }
