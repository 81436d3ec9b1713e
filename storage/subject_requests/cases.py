"""Requests of data subjects (Art. 15, 17, 20 GDPR), from receipt to the signed record.

    case = await customer.requests.file(kinds, asked, received_at=…, by=NAME)
    case = await customer.requests.get(id)                                 Case or None
    page = await customer.requests.listed(limit, cursor, state)            newest first
    case = await customer.requests.select(id, selection)
    case = await customer.requests.extend(id, extension, by=NAME)          the answer takes longer than a month
    case, export = await customer.requests.report(id, wanted, by=NAME)     an export of format REPORT
    erasure = await customer.requests.erase(id, reason=…, by=NAME, approval=…)
    case = await customer.requests.close(id, step, ground, by=NAME)        cuts the key of all personal data
    await customer.requests.tidy()                                         finishes closing after a crash

A step that the state does not allow raises WrongState (409), and an unknown id raises NoCase (404). `told` writes the
audit log inside the transaction; if it raises, the step is undone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import cursors
from storage.audit.audit_log import AuditNote, unaudited
from storage.database.database import writer
from storage.database.schema import exports, requests
from storage.erasure.erasure_rows import Erasure
from storage.erasure.erasures import Erasures
from storage.errors import StorageError
from storage.exports.exports import REPORT, Export, Exports, ExportState, Request
from storage.ids import new_id
from storage.journal.journal import JournaledDatabase, JournaledRows, taken
from storage.keys import sealing
from storage.keys.key_tree import LAST_LEAF
from storage.subject_requests import closing_record
from storage.subject_requests.case_rows import (
    Asked,
    Case,
    Extension,
    Kind,
    Selection,
    State,
    Step,
    after,
    columns,
    due,
    shown,
)
from storage.subject_requests.report_log import Wanted, asked_for, with_end, with_fetched, with_report
from storage.timestamps import to_micros

__all__ = [
    "Asked",
    "Case",
    "Extension",
    "Kind",
    "NoCase",
    "Nothing",
    "Requests",
    "Selection",
    "State",
    "Step",
    "Wanted",
    "WrongState",
]


class NoCase(StorageError):
    """There is no such request."""


class WrongState(StorageError):
    """The state does not allow this step."""

    def __init__(self, state: State) -> None:
        super().__init__(f"the request is {state}")
        self.state = state


class Nothing(StorageError):
    """No call is selected, so there is nothing to erase."""


class Requests(JournaledRows):
    """The requests of one customer."""

    def __init__(
        self, store: JournaledDatabase, customer: str, held: Exports, erasures: Erasures, key: Ed25519PrivateKey
    ) -> None:
        super().__init__(store)
        self._customer = customer
        self._exports = held
        self._erasures = erasures
        self._key = key
        held.on_end(self._ended)

    # --- file and read ------------------------------------------------------------------------------------------------

    async def file(
        self, kinds: Sequence[Kind], asked: Asked, *, received_at: datetime, by: str, told: AuditNote = unaudited
    ) -> Case:
        """File a request durably."""
        id, leaf, now = new_id(self._random), sealing.new_leaf(self._keys), self._now()
        wanted = tuple(kind for kind in Kind if kind in kinds)
        case = Case(id, State.OPEN, wanted, received_at, due(received_at), now, by, now, asked, leaf=leaf)
        async with self._database.writing() as connection:
            await connection.execute(requests.insert(), columns(self._keys, case))
            await told(id)
            await self._journal.keep(connection, requests, requests.c.id == id)
        return case

    async def get(self, id: str) -> Case | None:
        """Return a request, None if there is none."""
        async with self._database.reading() as connection:
            found = await self._find(connection, requests.c.id == id)
        return found[0] if found else None

    async def listed(
        self, limit: int, cursor: str | None = None, state: State | None = None
    ) -> tuple[list[Case], str | None]:
        """Return requests, newest first, and the cursor of the next page; raises BadCursor."""
        where = []
        if cursor is not None:
            after = map(sa.literal, cursors.read_by_time(cursor))
            where.append(sa.tuple_(requests.c.created_at, requests.c.id) < sa.tuple_(*after))
        if state is not None:
            where.append(_in_state(state))
        async with self._database.reading() as connection:
            found = await self._find(connection, *where, limit=limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        return found[:limit], None if last is None else cursors.by_time(to_micros(last.created_at), last.id)

    async def select(self, id: str, selection: Selection, *, told: AuditNote = unaudited) -> Case:
        """Replace the selection of calls that concern the person; raises NoCase, WrongState."""
        return await self._step(id, Step.SELECT, lambda case: replace(case, selection=selection), told)

    async def extend(self, id: str, extension: Extension, *, by: str, told: AuditNote = unaudited) -> Case:
        """Extend the time limit for the answer, and replace any earlier extension; raises NoCase, WrongState."""
        return await self._step(id, Step.EXTEND, lambda case: case.extended(extension, self._now(), by), told)

    async def report(self, id: str, wanted: Wanted, *, by: str, told: AuditNote = unaudited) -> tuple[Case, Export]:
        """File a report of the selected calls; raises NoCase, WrongState, TooMany."""
        found: list[Case] = []

        async def beside(connection: AsyncConnection, export: str) -> None:
            def change(case: Case) -> Case:
                note = asked_for(export, wanted, by, self._now())
                return replace(case, export=export, noted=with_report(case.noted, note))

            found.append(await self._move(connection, id, Step.REPORT, change, told))

        request = Request(
            REPORT,
            (),
            "",
            (),
            media=wanted.media,
            silence_others=wanted.silence_others,
            case=id,
            other_parties=wanted.other_parties,
            recipient=wanted.recipient,
            passphrase=wanted.passphrase,
        )
        export = await self._exports.file(request, by, beside)
        return found[0], export

    async def fetched(self, id: str, export: str, *, by: str) -> None:
        """Record that somebody fetched a report; raises NoCase."""
        async with self._database.writing() as connection:
            case = await self._one(connection, id)
            noted = with_fetched(case.noted, export, self._now(), by)
            await self._write(connection, replace(case, noted=noted))

    async def erase(
        self, id: str, *, reason: str, by: str, identity: str = "", approval: bool, told: AuditNote = unaudited
    ) -> Erasure:
        """File the erasure of the selected calls once; raises NoCase, WrongState, Nothing, and as Erasures.file."""
        case = await self.get(id)
        if case is None:
            raise NoCase("there is no such request")
        if after(case.state, Step.ERASE) is None:
            raise WrongState(case.state)
        if not case.selection.inside:
            raise Nothing("no call is selected")

        async def beside(erasure: str) -> None:
            """Store the erasure's id in the case, in its transaction, so that two simultaneous calls file it once."""
            connection = writer()
            if connection is None:
                raise StorageError("an erasure must be recorded inside its transaction")
            await self._move(connection, id, Step.ERASE, lambda case: replace(case, erasure=erasure), unaudited)
            await told(erasure)

        return await self._erasures.file(
            calls=list(case.selection.inside), reason=reason, by=by, identity=identity, approval=approval, told=beside
        )

    async def close(
        self, id: str, step: Step, ground: str | None = None, *, by: str, told: AuditNote = unaudited
    ) -> Case:
        """Close a request, sign its record and erase the personal data; raises NoCase, WrongState."""

        def change(case: Case) -> Case:
            over = replace(case, state=State(step.value), closed_at=self._now(), closed_by=by, ground=ground)
            record = closing_record.sign(self._key, self._customer, over)
            return replace(over, asked=None, selection=Selection(), noted={**case.noted, "record": record})

        async with self._database.writing() as connection:
            case = await self._move(connection, id, step, change, told)
        return await self._forget(case)

    async def tidy(self) -> int:
        """Erase personal data of closed requests if a crash prevented it; return the number of these requests."""
        half = sa.and_(requests.c.closed_at.is_not(None), requests.c.leaf.is_not(None))
        async with self._database.reading() as connection:
            found = await self._find(connection, half)
        for case in found:
            await self._forget(case)
        return len(found)

    # --- steps -------------------------------------------------------------------------------------------------------

    async def _step(self, id: str, step: Step, change: Callable[[Case], Case], told: AuditNote) -> Case:
        async with self._database.writing() as connection:
            return await self._move(connection, id, step, change, told)

    async def _move(
        self, connection: AsyncConnection, id: str, step: Step, change: Callable[[Case], Case], told: AuditNote
    ) -> Case:
        """Take a step in this transaction."""
        case = await self._one(connection, id)
        state = after(case.state, step)
        if state is None:
            raise WrongState(case.state)
        moved = replace(change(case), state=state, changed_at=self._now())
        await self._write(connection, moved, told)
        return moved

    async def _write(self, connection: AsyncConnection, case: Case, told: AuditNote = unaudited) -> None:
        mine = requests.c.id == case.id
        await connection.execute(requests.update().where(mine).values(**columns(self._keys, case)))
        await told(case.id)
        leaf = None if case.asked is not None else LAST_LEAF  # what remains is never erased
        await self._journal.write(await taken(connection, requests, mine, leaf=leaf))

    async def _one(self, connection: AsyncConnection, id: str) -> Case:
        found = await self._find(connection, requests.c.id == id)
        if not found:
            raise NoCase("there is no such request")
        return found[0]

    async def _find(
        self, connection: AsyncConnection, *where: sa.ColumnElement[bool], limit: int | None = None
    ) -> list[Case]:
        """Return cases, newest first; a case whose report was erased together with a call counts as confirmed."""
        joined = requests.outerjoin(exports, exports.c.id == requests.c.export)
        asked = sa.select(*requests.c, exports.c.id.label("made_by")).select_from(joined).where(*where)
        newest = (requests.c.created_at.desc(), requests.c.id.desc())
        found = []
        for record in await connection.execute(asked.order_by(*newest).limit(limit)):
            case = shown(self._keys, record)
            lost = case.state is State.REPORTING and record.made_by is None
            found.append(replace(case, state=State.CONFIRMED) if lost else case)
        return found

    async def _ended(
        self, connection: AsyncConnection, export: Export, state: ExportState, facts: Mapping[str, Any]
    ) -> None:
        """Store the result of an export, in the transaction that ends the export."""
        if export.case is None:
            return
        found = await self._find(connection, requests.c.id == export.case)
        case = found[0] if found else None
        if case is None or case.export != export.id or case.state is not State.REPORTING:
            return
        step = Step.MADE if state is ExportState.DONE else Step.FAILED
        noted = with_end(case.noted, export.id, state.value, self._now(), facts)
        await self._move(connection, case.id, step, lambda case: replace(case, noted=noted), unaudited)

    async def _forget(self, case: Case) -> Case:
        """Cut the keys of a closed request and of its report."""
        if case.leaf is not None and self._keys.keeps(case.leaf):
            await self._cutter.cut(case.leaf)
        await self._exports.drop([report["export"] for report in case.reports])
        over = replace(case, leaf=None, asked=None)
        async with self._database.writing() as connection:
            await self._write(connection, over)
        await self._database.scrub()
        return over


def _in_state(state: State) -> sa.ColumnElement[bool]:
    """Return the condition for requests in a state as `_find` shows it, which is confirmed if the report is gone."""
    mine, lost = requests.c.state == state.value, exports.c.id.is_(None)
    if state is State.REPORTING:
        return sa.and_(mine, ~lost)
    if state is State.CONFIRMED:
        return sa.or_(mine, sa.and_(requests.c.state == State.REPORTING.value, lost))
    return mine
