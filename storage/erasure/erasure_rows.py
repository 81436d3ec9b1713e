"""Erasures in the database: states, steps, and the statements that change them; no policy.

    erasure    approval → running ⇄ waiting → done
               … running → cut ⇄ waiting → done                      if several nodes hold the keys
    call       FILED → BEGUN → UNLINKED → REMOVED → INDEXED → VERIFIED

BEGUN is the point of no return: it is set in the transaction that finds no hold, and no hold can be set after it. Each
later step is set when its work is durable, and the work of every step can be repeated. A call whose id is unknown has
no leaf and is VERIFIED from the start.
"""

import enum
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import batches
from storage.calls.call_row import DAY_SHIFT
from storage.calls.session_recordings import any_session, together
from storage.database.schema import calls, erasure_calls, erasures, export_calls, exports, holds
from storage.timestamps import from_micros

ROUND = 10_000  # calls taken together, which limits how long the event loop is blocked
RETENTION = "retention"
REQUEST = "request"
RESTORED = "restored"


class State(enum.StrEnum):
    """State of an erasure."""

    APPROVAL = "approval"
    RUNNING = "running"
    WAITING = "waiting"
    CUT = "cut"
    DONE = "done"


OPEN = (State.RUNNING.value, State.WAITING.value, State.CUT.value)
OPEN_SINCE = sa.select(sa.func.max(erasures.c.requested_at)).where(erasures.c.state.in_(OPEN)).scalar_subquery()
"""Selects when the newest open erasure was requested; null if none is open."""
_CALLS = sa.select(sa.func.count()).where(erasure_calls.c.erasure == erasures.c.id).scalar_subquery()
COUNTED = sa.select(erasures, _CALLS.label("calls"))
"""Selects erasures, each with the number of its calls."""


class Step(enum.IntEnum):
    """Last step done for a call of an erasure."""

    FILED = 0
    BEGUN = 1
    UNLINKED = 2
    REMOVED = 3
    INDEXED = 4
    VERIFIED = 5


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure, as the API shows it."""

    id: str
    """Random id."""
    state: State
    """approval, running, waiting (for a hold to be lifted, or for nodes), cut (no running node opens it), or done."""
    cause: str
    """request, retention or restored."""
    rule: str | None
    """Id of the retention rule, None for the default and for requests."""
    requested_at: datetime
    """When it was requested."""
    requested_by: str
    """Name of the token, or "recorder"."""
    approved_at: datetime | None
    """When it was approved, None if it was not, or needed no approval."""
    approved_by: str | None
    """Name of the token that approved it."""
    done_at: datetime | None
    """When it was done."""
    calls: int | None
    """Number of calls, as found when it was requested; None in a list of finished erasures."""
    receipt: dict[str, Any] | None = field(repr=False)
    """The signed receipt, None until it is done."""
    waiting_for: tuple[str, ...] = ()
    """Names of the nodes that have not cut it yet, once everything else is done, if several nodes hold the keys."""


@dataclass(frozen=True, slots=True)
class ErasureTarget:
    """A call to be erased."""

    call: str
    """Id of the call."""
    leaf: int
    """Leaf of the call."""


def shown(record: Any) -> Erasure:
    """Build an erasure from its row."""
    cause, _, rule = record.cause.partition(":")
    receipt = None if record.receipt is None else json.loads(record.receipt)
    return Erasure(
        record.id,
        State(record.state),
        cause,
        rule or None,
        from_micros(record.requested_at),
        record.requested_by,
        None if record.approved_at is None else from_micros(record.approved_at),
        record.approved_by,
        None if record.done_at is None else from_micros(record.done_at),
        record.calls if receipt is None else receipt["counts"]["calls"],  # a restored database has only the receipt
        receipt,
    )


async def one(connection: AsyncConnection, id: str) -> Any:
    """Return the row of an erasure, None if there is none."""
    return (await connection.execute(COUNTED.where(erasures.c.id == id))).first()


async def undone(connection: AsyncConnection) -> list[Any]:
    """Return the rows of erasures that are not done, oldest first."""
    going = erasures.c.state.in_((State.APPROVAL.value, *OPEN))  # uses the index: the finished ones are many and large
    return list(await connection.execute(COUNTED.where(going).order_by(erasures.c.requested_at)))


async def any_open(connection: AsyncConnection) -> bool:
    """Return whether any erasure is open: running, waiting or cut."""
    return bool(await connection.scalar(sa.select(sa.exists().where(erasures.c.state.in_(OPEN)))))


async def done(connection: AsyncConnection, limit: int, before: tuple[int, str] | None) -> list[Any]:
    """Return the rows of finished erasures, newest first, without receipts and counts: a sweep has 100,000 calls."""
    kept = [column for column in erasures.c if column is not erasures.c.receipt]
    left_out = (sa.null().label("receipt"), sa.null().label("calls"))
    asked = sa.select(*kept, *left_out).where(erasures.c.state == State.DONE.value)
    if before is not None:
        asked = asked.where(sa.tuple_(erasures.c.done_at, erasures.c.id) < before)
    newest = asked.order_by(erasures.c.done_at.desc(), erasures.c.id.desc()).limit(limit)
    return list(await connection.execute(newest))


async def leaves_of(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, int]:
    """Return the leaves of calls: from the index, or from an erasure that has not finished with them."""
    found: dict[str, int] = {}
    for part in batches(ids):
        going = sa.select(erasure_calls.c.call, erasure_calls.c.leaf).where(
            erasure_calls.c.call.in_(part), erasure_calls.c.leaf.is_not(None), erasure_calls.c.step < Step.VERIFIED
        )
        known = sa.select(calls.c.id, calls.c.leaf).where(calls.c.id.in_(part))
        for asked in (going, known):
            found.update((row[0], row[1]) for row in await connection.execute(asked))
    return found


async def held_of(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    """Return which of these calls are under legal hold."""
    found: list[str] = []
    for part in batches(ids):
        found += await connection.scalars(sa.select(holds.c.call).where(holds.c.call.in_(part)))
    return found


async def file(connection: AsyncConnection, values: dict[str, Any]) -> None:
    """Write an erasure without its calls."""
    blank = {"approved_at": None, "approved_by": None, "done_at": None, "leaf": None, "sealed": None, "receipt": None}
    await connection.execute(erasures.insert(), {**blank, **values})


async def add_calls(connection: AsyncConnection, id: str, leaves: dict[str, int | None]) -> None:
    """Write the calls of an erasure, and other nodes' recordings of the same sessions.

    Calls without a leaf have nothing to erase.
    """
    for part in batches(list(leaves.items())):
        values = [
            {"erasure": id, "call": call, "leaf": leaf, "step": Step.VERIFIED if leaf is None else Step.FILED}
            for call, leaf in part
        ]
        await connection.execute(erasure_calls.insert(), values)
    if await any_session(connection):
        await _add_other_recordings(connection, id)


async def _add_other_recordings(connection: AsyncConnection, id: str) -> None:
    """Note the session of each call of an erasure, and add the other recordings of that session."""
    mine = erasure_calls.c.erasure == id
    session = sa.select(calls.c.session).where(calls.c.id == erasure_calls.c.call).scalar_subquery()
    unknown = sa.and_(mine, erasure_calls.c.session.is_(None), session.is_not(None))
    await connection.execute(erasure_calls.update().where(unknown).values(session=session))
    other, known = calls.alias("other"), erasure_calls.alias("known")
    named = calls.join(erasure_calls, erasure_calls.c.call == calls.c.id).join(other, together(calls, other))
    there = sa.exists().where(known.c.erasure == id, known.c.call == other.c.id)
    values = (sa.literal(id), other.c.id, other.c.leaf, sa.literal(Step.FILED.value), other.c.session)
    found = sa.select(*values).select_from(named).where(mine, ~there).distinct()
    names = ["erasure", "call", "leaf", "step", "session"]
    await connection.execute(erasure_calls.insert().from_select(names, found))


async def erased_sessions(connection: AsyncConnection, ids: Sequence[str] | None = None) -> list[Any]:
    """Return calls that no erasure includes, although one includes another recording of their session.

    Each row has `id` and `leaf` of the call, and that `erasure`, or one of several. `ids`: look only at these calls.
    """
    own = erasure_calls.alias("own")
    same = erasure_calls.c.session == calls.c.session
    near = sa.func.abs(erasure_calls.c.leaf - calls.c.leaf) < 2 << DAY_SHIFT
    asked = sa.select(calls.c.id, calls.c.leaf, sa.func.max(erasure_calls.c.erasure).label("erasure"))
    asked = asked.select_from(calls.join(erasure_calls, sa.and_(same, near, erasure_calls.c.call != calls.c.id)))
    asked = asked.where(~sa.exists().where(own.c.call == calls.c.id, own.c.leaf.is_not(None)))
    asked = asked.group_by(calls.c.id, calls.c.leaf)
    if ids is None:
        return list(await connection.execute(asked))
    return [each for part in batches(ids) for each in await connection.execute(asked.where(calls.c.id.in_(part)))]


async def withdraw(connection: AsyncConnection) -> str | None:
    """Delete the erasure for which a sweep asked approval; return its id, which the next sweep uses again."""
    waiting = erasures.c.cause.startswith(RETENTION), erasures.c.state == State.APPROVAL.value
    ids = list(await connection.scalars(sa.select(erasures.c.id).where(*waiting)))
    await connection.execute(erasure_calls.delete().where(erasure_calls.c.erasure.in_(ids)))
    await connection.execute(erasures.delete().where(erasures.c.id.in_(ids)))
    return ids[0] if ids else None


async def begin(
    connection: AsyncConnection, round: int = ROUND, *, before: int | None = None
) -> list[tuple[ErasureTarget, Step]]:
    """Mark the calls of running erasures as begun, unless held; return the calls to work on with their lowest step.

    The oldest days come first, each of them whole, up to the size of a round. Calls that retention filed and that
    somebody has put under hold since are taken out: retention decides again when the hold is lifted.

    `before`: of the erasures that retention filed, begin only those filed, and approved if need be, before this time.
    """
    held = erasure_calls.c.call.in_(sa.select(holds.c.call))
    filed = sa.and_(erasure_calls.c.step == Step.FILED, erasure_calls.c.leaf.is_not(None))
    running = erasures.c.state.in_(OPEN)
    swept = sa.select(erasures.c.id).where(running, erasures.c.cause.startswith(RETENTION))
    await connection.execute(erasure_calls.delete().where(filed, held, erasure_calls.c.erasure.in_(swept)))
    if await any_session(connection):  # a request restored to a lost database may lack some recordings
        asked = sa.select(erasures.c.id).where(running, erasures.c.cause == REQUEST)
        for id in list(await connection.scalars(asked)):
            await _add_other_recordings(connection, id)
    going = erasure_calls.c.erasure.in_(sa.select(erasures.c.id).where(running))
    fresh = [filed, ~held, going]
    if before is not None:
        late = sa.func.greatest(erasures.c.requested_at, erasures.c.approved_at) >= before
        fresh.append(erasure_calls.c.erasure.not_in(swept.where(late)))
    await connection.execute(erasure_calls.update().where(*fresh).values(step=Step.BEGUN))
    under_way = sa.and_(
        going,
        erasure_calls.c.leaf.is_not(None),
        erasure_calls.c.step >= Step.BEGUN,
        erasure_calls.c.step < Step.VERIFIED,
    )
    end = await _end_of_round(connection, under_way, round)
    asked = (
        sa.select(erasure_calls.c.call, erasure_calls.c.leaf, sa.func.min(erasure_calls.c.step))
        .where(under_way, erasure_calls.c.leaf < end)
        .group_by(erasure_calls.c.call, erasure_calls.c.leaf)
    )
    return [(ErasureTarget(row[0], row[1]), Step(row[2])) for row in await connection.execute(asked)]


async def _end_of_round(connection: AsyncConnection, under_way: sa.ColumnElement[bool], round: int) -> int:
    """Return the first leaf after the last day of a round."""
    day = erasure_calls.c.leaf.op(">>")(sa.literal_column(str(DAY_SHIFT)))
    counted = sa.select(day, sa.func.count()).where(under_way).group_by(day).order_by(day)
    last = taken = 0
    for found, count in await connection.execute(counted):
        if taken and taken + count > round:
            break
        last, taken = int(found), taken + count
    return (last + 1) << DAY_SHIFT


async def mark(connection: AsyncConnection, ids: Sequence[str], step: Step) -> None:
    """Record that a step is durable for these calls, in every erasure that has begun with them."""
    for part in batches(ids):
        wanted = sa.and_(erasure_calls.c.call.in_(part), erasure_calls.c.leaf.is_not(None))
        behind = sa.and_(erasure_calls.c.step >= Step.BEGUN, erasure_calls.c.step < step)
        await connection.execute(erasure_calls.update().where(wanted, behind).values(step=step))


async def erasures_of(connection: AsyncConnection, ids: Sequence[str]) -> list[tuple[Any, list[ErasureTarget]]]:
    """Return the open erasures that these calls belong to, each with those of the calls that have begun."""
    found: dict[str, list[ErasureTarget]] = {}
    for part in batches(ids):
        joined = erasure_calls.join(erasures, erasures.c.id == erasure_calls.c.erasure)
        asked = sa.select(erasures.c.id, erasure_calls.c.call, erasure_calls.c.leaf).select_from(joined)
        begun = sa.and_(erasure_calls.c.step > Step.FILED, erasure_calls.c.leaf.is_not(None))
        mine = asked.where(erasures.c.state.in_(OPEN), erasure_calls.c.call.in_(part), begun)
        for id, call, leaf in await connection.execute(mine):
            found.setdefault(id, []).append(ErasureTarget(call, leaf))
    return [(await one(connection, id), targets) for id, targets in sorted(found.items())]


async def without_leaf(connection: AsyncConnection, id: str) -> list[str]:
    """Return the ids of a request that were unknown or already erased; its receipt lists them too."""
    unknown = sa.and_(erasure_calls.c.erasure == id, erasure_calls.c.leaf.is_(None))
    return list(await connection.scalars(sa.select(erasure_calls.c.call).where(unknown)))


async def exports_of(connection: AsyncConnection, ids: Sequence[str]) -> list[ErasureTarget]:
    """Return the exports that contain any of these calls."""
    found: dict[str, int] = {}
    for part in batches(ids):
        joined = exports.join(export_calls, export_calls.c.export == exports.c.id)
        asked = sa.select(exports.c.id, exports.c.leaf).select_from(joined).where(export_calls.c.call.in_(part))
        found.update((row[0], row[1]) for row in await connection.execute(asked))
    return [ErasureTarget(id, leaf) for id, leaf in found.items()]


async def progress(connection: AsyncConnection) -> list[tuple[Any, int, int]]:
    """Return every open erasure, the number of its calls that wait for a hold, and the number not verified."""
    joined = erasures.outerjoin(erasure_calls, erasure_calls.c.erasure == erasures.c.id)
    held = erasure_calls.c.call.in_(sa.select(holds.c.call))
    waits = sa.func.sum(sa.case((sa.and_(erasure_calls.c.step == Step.FILED, held), 1), else_=0))
    left = sa.func.sum(sa.case((erasure_calls.c.step < Step.VERIFIED, 1), else_=0))
    asked = (
        sa.select(erasures.c.id, sa.func.coalesce(waits, 0), sa.func.coalesce(left, 0))
        .select_from(joined)
        .where(erasures.c.state.in_(OPEN))
        .group_by(erasures.c.id)
    )
    counted = list(await connection.execute(asked))
    return [(await one(connection, row[0]), int(row[1]), int(row[2])) for row in counted]


async def found_late(connection: AsyncConnection, id: str) -> int:
    """Add to a request its calls that were unknown when it was filed and that another node has indexed since."""
    unknown = sa.and_(erasure_calls.c.erasure == id, erasure_calls.c.leaf.is_(None))
    named = calls.c.id.in_(sa.select(erasure_calls.c.call).where(unknown))
    late = list(await connection.execute(sa.select(calls.c.id, calls.c.leaf).where(named)))
    for call, leaf in late:
        mine = erasure_calls.update().where(unknown, erasure_calls.c.call == call)
        await connection.execute(mine.values(leaf=leaf, step=Step.FILED))
    return len(late)


async def calls_of(connection: AsyncConnection, id: str) -> list[str]:
    """Return the ids of an erasure's calls."""
    return list(await connection.scalars(sa.select(erasure_calls.c.call).where(erasure_calls.c.erasure == id)))


async def recordings_of(connection: AsyncConnection, id: str) -> list[tuple[str, int]]:
    """Return id and leaf of each known call of an erasure."""
    asked = sa.select(erasure_calls.c.call, erasure_calls.c.leaf).where(
        erasure_calls.c.erasure == id, erasure_calls.c.leaf.is_not(None)
    )
    return [(row[0], row[1]) for row in await connection.execute(asked)]


async def waits(connection: AsyncConnection, id: str, now: Collection[str]) -> bool:
    """Return whether a call of an erasure is neither cut nor being cut now: it is held, or comes in a later round."""
    uncut = sa.and_(erasure_calls.c.leaf.is_not(None), erasure_calls.c.step < Step.UNLINKED)
    asked = sa.select(erasure_calls.c.call).where(erasure_calls.c.erasure == id, uncut).limit(len(now) + 1)
    return any(call not in now for call in await connection.scalars(asked))
