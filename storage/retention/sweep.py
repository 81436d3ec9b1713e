"""The retention sweep, which finds due calls and files their erasure.

For the API:
    preview = await customer.retention.preview(now, percent, policy=None)    what the next sweep would erase, and why
        `policy` = customer.rules.policy_of(…) for rules that are not stored yet
For the daemon (recorder.maintenance.retention_job):
    swept = await customer.retention.sweep(now, percent)     files erasures; `customer.erasures.work` carries them out
    await customer.retention.refresh()                       updates `erase_after` of every call to the present rules

`now` must come from storage.retention.policy.TrustedClock, never from the wall clock alone. If a sweep would erase more
than `percent` of the calls, it files one erasure in state `approval`, whose calls every later sweep selects anew.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_index import Calls
from storage.database.database import Database
from storage.database.schema import calls, erasure_calls, erasures
from storage.erasure import erasure_rows as rows
from storage.erasure.erasure_rows import State
from storage.erasure.erasures import RECORDER, Erasures
from storage.ids import new_id
from storage.keys.sealing import DeletableKeys
from storage.retention.decisions import Decided, Decisions
from storage.retention.policy import NEVER, Policy, brake
from storage.retention.rules import Rules
from storage.turns import Still, always

_BY_END = itemgetter(Decided._fields.index("until"), 0)


@dataclass(frozen=True, slots=True)
class Preview:
    """Preview of the next sweep."""

    due: tuple[Decided, ...]
    """Calls whose retention has ended, oldest first."""
    total: int
    """Number of the customer's calls."""
    asks: bool
    """Whether the sweep would erase too many calls and so wait for approval."""


@dataclass(frozen=True, slots=True)
class Swept:
    """Result of a sweep."""

    filed: tuple[str, ...]
    """Ids of the erasures that are running now."""
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
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._keys = keys
        self._calls = calls
        self._rules = rules
        self._erasures = erasures
        self._random = random

    async def preview(self, now: datetime, percent: float, policy: Policy | None = None) -> Preview:
        """Return the calls that a sweep at this time would erase, without changing anything."""
        found: list[Decided] = []
        async for page in self._decisions(policy or await self._rules.policy()).due(now):
            found += page
        going = await self._going()
        due = await asyncio.to_thread(_oldest_first, found, going)
        total = await self._calls.count()
        return Preview(due, total, brake(len(due), total, percent))

    async def sweep(self, now: datetime, percent: float, still: Still = always) -> Swept:
        """File the erasure of due calls, or request approval for it, even on a full disk; raises StorageError.

        Files nothing if this node's turn has ended.
        """
        while True:
            swept = await self._sweep(now, percent, still)
            if swept is not None:
                return swept

    async def _sweep(self, now: datetime, percent: float, still: Still) -> Swept | None:
        """Sweep once; return None if the rules changed meanwhile, because old rules must not erase anything."""
        policy = await self._rules.policy()
        preview = await self.preview(now, percent, policy)
        by_rule: dict[str | None, list[Decided]] = {}
        for due in preview.due:
            by_rule.setdefault(None if preview.asks else due.rule, []).append(due)

        async def file() -> list[str] | None:
            async with self._database.writing() as connection:
                if await self._rules.policy_in(connection) != policy:
                    return None
                if not await still(connection):
                    return []
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
        """Update `erase_after` of every finished call to the present rules; return how many changed."""
        changed = 0
        async for page in self._decisions(await self._rules.policy()).all():
            values = [
                {"b_id": each.id, "b_after": None if each.until == NEVER else each.until}
                for each in page
                if each.until != each.stored
            ]
            changed += len(values)
            if values:
                async with self._database.writing() as connection:
                    await connection.execute(_SET_ERASE_AFTER, values)
        return changed

    def _decisions(self, policy: Policy) -> Decisions:
        return Decisions(self._database, self._keys, self._calls, policy)

    async def _going(self) -> set[str]:
        """Return the ids of the calls that running erasures contain."""
        joined = erasure_calls.join(erasures, erasures.c.id == erasure_calls.c.erasure)
        asked = sa.select(erasure_calls.c.call).select_from(joined)
        running = asked.where(erasures.c.state.in_(rows.OPEN), erasure_calls.c.leaf.is_not(None))
        async with self._database.reading() as connection:
            return set(await connection.scalars(running))

    async def _file(
        self, connection: AsyncConnection, state: State, rule: str | None, due: Sequence[Decided], id: str | None
    ) -> str:
        id = id or new_id(self._random)
        values = {
            "id": id,
            "state": state.value,
            "cause": rows.RETENTION if rule is None else f"{rows.RETENTION}:{rule}",
            "requested_at": await self._erasures.moment(connection),
            "requested_by": RECORDER,
        }
        await rows.file(connection, values)
        await rows.add_calls(connection, id, {d.id: d.leaf for d in due})
        return id


def _oldest_first(found: Iterable[Decided], but: Collection[str]) -> tuple[Decided, ...]:
    return tuple(sorted([due for due in found if due.id not in but], key=_BY_END))


_SET_ERASE_AFTER = calls.update().where(calls.c.id == sa.bindparam("b_id")).values(erase_after=sa.bindparam("b_after"))
