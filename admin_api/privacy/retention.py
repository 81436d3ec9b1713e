"""Show and change the retention rules, and preview what they would erase."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.responses import Response

from admin_api.http import body_reader, responses
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.body_reader import Members
from admin_api.http.problems import invalid
from storage.calls.call_row import Direction
from storage.retention.policy import MAX_DAYS, Policy, Wins
from storage.retention.rules import MAX_NAME, MAX_RULES, BadRule, RuleSpec, Stored, StoredRule, Unchanged, check
from storage.retention.sweep import Due, Preview
from storage.timestamps import rfc3339

MEMBERS = ("rules", "default_days", "wins")
RULE_MEMBERS = ("id", "days", "direction", "source", "party", "name")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rules of a request body; members left out stay unchanged."""

    rules: tuple[RuleSpec, ...] | None
    """All rules, None if left out."""
    default_days: int | Unchanged | None
    """Days where no rule matches, None for ever."""
    wins: Wins | None
    """Which of several matching rules applies."""


async def view(request: AuthorisedRequest) -> Response:
    """Answer GET /retention."""
    request.no_parameters()
    stored = await request.customer.rules.get()
    await request.note(DONE)
    return responses.document(shown(stored))


async def put(request: AuthorisedRequest) -> Response:
    """Answer PUT /retention: replace all rules; a rule with unchanged conditions keeps its id."""
    wanted = await body_reader.given(request, read_all)
    await request.note(DONE, f"{len(wanted.rules or ())} rules")
    stored = await request.customer.rules.put(
        wanted.rules or (), by=request.principal.name, default_days=wanted.default_days, wins=wanted.wins
    )
    return responses.document(shown(stored))


async def preview(request: AuthorisedRequest) -> Response:
    """Answer POST /retention/preview: what the next sweep would erase, by the given rules or those in force."""
    wanted = await body_reader.given(request, read)
    policy = await _policy(request, wanted)
    now, percent = request.daemon.sweep_terms()
    found = await request.customer.retention.preview(now, percent, policy)
    await request.note(DONE)
    document = await asyncio.to_thread(foreseen, found, now)
    return await asyncio.to_thread(responses.document, document)  # a first sweep may take 100,000 calls


async def _policy(request: AuthorisedRequest, wanted: Wanted) -> Policy | None:
    """Build the rules to try; None: those in force, with their ids."""
    stored = await request.customer.rules.get()
    days = stored.default_days if isinstance(wanted.default_days, Unchanged) else wanted.default_days
    wins = wanted.wins or stored.wins
    if wanted.rules is None and (days, wins) == (stored.default_days, stored.wins):
        return None
    rules = tuple(rule.spec for rule in stored.rules) if wanted.rules is None else wanted.rules
    return request.customer.rules.policy_of(rules, days, wins)


def read_all(data: bytes) -> Wanted:
    """Read the body of PUT /retention, whose rules must be there; raises Problem 422."""
    wanted = read(data)
    if wanted.rules is None:
        raise invalid([{"in": "body", "name": "rules", "reason": "must be given; an empty list leaves the default"}])
    return wanted


def read(data: bytes) -> Wanted:
    """Read rules; raises Problem 422."""
    body = body_reader.parse(data, MEMBERS, blank=True)
    rules = _rules(body) if "rules" in body else None
    days = body.whole("default_days", MAX_DAYS) if "default_days" in body else Unchanged.YES
    wins = _one_of(body, "wins", Wins) if "wins" in body else None
    if "wins" in body and wins is None and body.raw("wins") is None:
        body.wrong("wins", "must be longest or shortest")
    body.done()
    try:
        check(rules or (), None if isinstance(days, Unchanged) else days)
    except BadRule as problem:
        raise invalid([{"in": "body", "name": problem.place, "reason": problem.right}]) from None
    return Wanted(rules, days, wins)


def _rules(body: Members) -> tuple[RuleSpec, ...]:
    given = body.raw("rules")
    if not isinstance(given, list) or len(given) > MAX_RULES:
        body.wrong("rules", f"must be a list of at most {MAX_RULES} rules")
        return ()
    found = []
    for number, one in enumerate(given):
        rule = Members(one, RULE_MEMBERS, f"rules.{number}")
        found.append(
            RuleSpec(
                rule.whole("days", MAX_DAYS),
                _one_of(rule, "direction", Direction),
                rule.maybe_text("source", MAX_NAME),
                rule.maybe_text("party", MAX_NAME),
                rule.maybe_text("name", MAX_NAME) or "",
            )
        )
        rule.maybe_text("id", MAX_NAME)  # accepted so that an answer can be sent back; the recorder assigns ids
        body.include(rule.errors)
    return tuple(found)


def _one_of(body: Members, name: str, choices: Any) -> Any:
    value = body.raw(name)
    if value is None or (isinstance(value, str) and value in set(choices)):
        return None if value is None else choices(value)
    body.wrong(name, f"must be one of {', '.join(choices)}")
    return None


def shown(stored: Stored) -> dict[str, Any]:
    """Show the rules of a customer."""
    return {
        "default_days": stored.default_days,
        "wins": stored.wins.value,
        "rules": [_rule(rule) for rule in stored.rules],
        "changed_at": rfc3339(stored.changed_at),
        "changed_by": stored.changed_by,
    }


def _rule(rule: StoredRule) -> Mapping[str, Any]:
    spec = rule.spec
    return {
        "id": rule.id,
        "days": spec.days,
        "direction": None if spec.direction is None else spec.direction.value,
        "source": spec.source,
        "party": spec.party,
        "name": spec.name or None,
    }


def foreseen(preview: Preview, now: datetime) -> dict[str, Any]:
    """Show a preview: `items` would be erased at once, `asks` only after approval."""
    due = [_due(one) for one in preview.due]
    return {
        "at": rfc3339(now),
        "calls": preview.total,
        "brake": preview.asks,
        "items": [] if preview.asks else due,
        "asks": due if preview.asks else [],
    }


def _due(due: Due) -> Mapping[str, Any]:
    return {
        "id": due.id,
        "rule": due.rule,
        "ended_at": rfc3339(due.ended_at),
        "erase_after": rfc3339(due.erase_after),
    }
