"""Retention: find calls that were kept long enough, and file their erasure.

For the API:
    preview = await customer.retention.preview(now, percent, policy=None)    what the next sweep would erase, and why
        `policy` = customer.rules.policy_of(…) for rules that are not stored yet
For the daemon (recorder.maintenance.retention_job):
    swept = await customer.retention.sweep(now, percent)     files erasures; `customer.erasures.work` carries them out
    await customer.retention.refresh()                       updates `erase_after` of every call to the present rules

`now` must come from storage.retention.policy.TrustedClock, never from the wall clock alone. If a sweep would erase more
than `percent` of the calls, it files one erasure in state `approval`; every later sweep decides anew what it contains.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, from_columns
from storage.calls.sealed_row import open_row
from storage.calls.search import NEWEST, READ_COLUMNS
from storage.database.database import Database
from storage.database.schema import calls, erasure_calls, erasures, holds
from storage.erasure import erasure_rows as rows
from storage.erasure.erasure_rows import State
from storage.erasure.erasures import RECORDER, Erasures
from storage.errors import StorageError
from storage.ids import new_id
from storage.keys.sealing import DeletableKeys
from storage.retention.policy import Decision, Policy, Verdict, brake, judge
from storage.retention.rules import Rules
from storage.timestamps import day_of, to_micros

PAGE = 500  # calls decided together, in a thread: 50 ms
_RECORDING = 0
_CLEAR = tuple(c for c in READ_COLUMNS if c.name != "sealed")


@dataclass(frozen=True, slots=True)
class Due:
    """A call whose retention has ended."""

    id: str
    """Id of the call."""
    leaf: int
    """Its leaf."""
    rule: str | None
    """Id of the rule that decided, None for the default."""
    ended_at: datetime
    """End of the call."""
    erase_after: datetime
    """When its retention ended."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What the next sweep would do."""

    due: tuple[Due, ...]
    """Calls whose retention has ended, oldest first."""
    total: int
    """Number of the customer's calls."""
    asks: bool
    """Whether the sweep would erase too many and wait for approval."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    filed: tuple[str, ...]
    """Ids of the erasures that run now."""
    asked: str | None
    """Id of the erasure that waits for approval."""
    due: int
    """Number of calls whose retention has ended."""


class Retention:
    """Retention of one customer."""

    def __init__(
        self,
        database: Database,
        keys: DeletableKeys,
        calls: Calls,
        rules: Rules,
        erasures: Erasures,
        now: Callable[[], datetime],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._keys = keys
        self._calls = calls
        self._rules = rules
        self._erasures = erasures
        self._now = now
        self._random = random

    async def preview(self, now: datetime, percent: float, policy: Policy | None = None) -> Preview:
        """Return what a sweep at this moment would erase; changes nothing."""
        policy = policy or await self._rules.policy()
        found: list[Due] = []
        bound = _least_days(policy)
        if bound is not None:
            async for page in self._decided(policy, now, _latest_day(now, bound)):
                found += [_due(row, d) for row, d in page if d.verdict == Verdict.DUE]
        going = await self._going()
        due = await asyncio.to_thread(_oldest_first, found, going)  # takes 0.1 s for 100,000 calls
        total = await self._calls.count()
        return Preview(due, total, brake(len(due), total, percent))

    async def sweep(self, now: datetime, percent: float) -> Swept:
        """File the erasure of due calls, or ask for approval, even on a full disk; raises StorageError."""
        while True:
            swept = await self._sweep(now, percent)
            if swept is not None:
                return swept

    async def _sweep(self, now: datetime, percent: float) -> Swept | None:
        """Sweep once; return None if the rules changed meanwhile, as old rules must not erase anything."""
        policy = await self._rules.policy()
        preview = await self.preview(now, percent, policy)
        by_rule: dict[str | None, list[Due]] = {}
        for due in preview.due:
            by_rule.setdefault(None if preview.asks else due.rule, []).append(due)

        async def file() -> list[str] | None:
            async with self._database.writing() as connection:
                if await self._rules.policy_in(connection) != policy:
                    return None
                asked = await rows.withdraw(connection)
                state = State.APPROVAL if preview.asks else State.RUNNING
                again = asked if preview.asks else None
                return [await self._file(connection, state, rule, some, again) for rule, some in by_rule.items()]

        filed = await self._erasures.with_reserve(file)
        if filed is None:
            return None
        if filed and not preview.asks:
            self._erasures.wanted.set()
        question = filed[0] if filed and preview.asks else None
        return Swept(() if preview.asks else tuple(filed), question, len(preview.due))

    async def refresh(self) -> int:
        """Write `erase_after` of every finished call by the present rules; return how many changed."""
        policy, changed = await self._rules.policy(), 0
        async for page in self._decided(policy, self._now(), None):
            values = [
                {"b_id": row.id, "b_after": None if d.erase_after is None else to_micros(d.erase_after)}
                for row, d in page
                if d.erase_after != row.erase_after
            ]
            changed += len(values)
            if values:
                async with self._database.writing() as connection:
                    await connection.execute(_SET_ERASE_AFTER, values)
        return changed

    async def _decided(
        self, policy: Policy, now: datetime, latest: int | None
    ) -> AsyncIterator[list[tuple[CallRow, Decision]]]:
        """Yield finished calls of days up to `latest` with their decisions, page by page."""
        after: tuple[int, int, str] | None = None
        opening = any(_looks_inside(rule) for rule in policy.rules)
        while True:
            async with self._database.reading() as connection:
                records = (await connection.execute(_page(latest, after, opening))).all()
            if records:
                last: Any = records[-1]
                after = (last.day, last.started_at, last.id)
                yield await asyncio.to_thread(self._decide, records, policy, now, opening)
            if len(records) < PAGE:
                return

    def _decide(
        self, records: Sequence[Any], policy: Policy, now: datetime, opening: bool
    ) -> list[tuple[CallRow, Decision]]:
        done = []
        for record in records:
            row = from_columns(record, {})
            forms: Sequence[str] = ()
            if opening:
                try:
                    opened = open_row(self._keys, record)
                except StorageError:
                    continue  # damaged: no rule can be tried on it; `recorder verify` reports it
                if opened is None:
                    continue
                row, forms = opened
            done.append((row, judge(row, forms, policy, now, held=record.held is not None)))
        return done

    async def _going(self) -> set[str]:
        """Return the calls that a running erasure contains."""
        joined = erasure_calls.join(erasures, erasures.c.id == erasure_calls.c.erasure)
        asked = sa.select(erasure_calls.c.call).select_from(joined)
        running = asked.where(erasures.c.state.in_(rows.OPEN), erasure_calls.c.leaf.is_not(None))
        async with self._database.reading() as connection:
            return set(await connection.scalars(running))

    async def _file(
        self, connection: AsyncConnection, state: State, rule: str | None, due: Sequence[Due], id: str | None
    ) -> str:
        id = id or new_id(self._random)
        values = {
            "id": id,
            "state": state.value,
            "cause": rows.RETENTION if rule is None else f"{rows.RETENTION}:{rule}",
            "requested_at": to_micros(self._now()),
            "requested_by": RECORDER,
        }
        await rows.file(connection, values)
        await rows.add_calls(connection, id, {d.id: d.leaf for d in due})
        return id


def _oldest_first(found: Sequence[Due], but: Collection[str]) -> tuple[Due, ...]:
    return tuple(sorted((d for d in found if d.id not in but), key=lambda d: (d.erase_after, d.id)))


def _looks_inside(rule: Any) -> bool:
    return rule.direction is not None or rule.needles is not None or rule.source is not None


def _least_days(policy: Policy) -> int | None:
    """Return the number of days for which every call is kept at least, None if all are kept for ever."""
    spans = [rule.days for rule in policy.rules if rule.days is not None]
    return min([*spans, *([] if policy.default_days is None else [policy.default_days])], default=None)


def _latest_day(now: datetime, days: int) -> int:
    """Return the last day whose calls can have ended `days` ago: a call ends on the day of its leaf or later."""
    return day_of(now - timedelta(days=days)) + 1 if days < day_of(now) else 0


def _page(latest: int | None, after: tuple[int, int, str] | None, opening: bool) -> sa.Select[Any]:
    held = holds.c.call.label("held")
    joined = calls.outerjoin(holds, holds.c.call == calls.c.id)
    chosen = sa.select(*(READ_COLUMNS if opening else _CLEAR), held).select_from(joined)
    chosen = chosen.where(calls.c.state != _RECORDING, calls.c.ended_at.is_not(None))
    if latest is not None:
        chosen = chosen.where(calls.c.day <= latest)
    if after is not None:
        here = sa.tuple_(calls.c.day, calls.c.started_at, calls.c.id)
        chosen = chosen.where(here < sa.tuple_(*map(sa.literal, after)))
    return chosen.order_by(*NEWEST).limit(PAGE)


def _due(row: CallRow, decision: Decision) -> Due:
    if row.ended_at is None or decision.erase_after is None:
        raise ValueError("a call that is due has ended")
    return Due(row.id, row.leaf, decision.rule, row.ended_at, decision.erase_after)


_SET_ERASE_AFTER = calls.update().where(calls.c.id == sa.bindparam("b_id")).values(erase_after=sa.bindparam("b_after"))
