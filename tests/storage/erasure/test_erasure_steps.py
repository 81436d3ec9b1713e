"""Each step does its part, may be done twice, and says so if something is left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from personal import Personal
from storage.calls.call_row import CallRow, Query
from storage.customer.customers import Customer
from storage.database import schema
from storage.database.database import DatabaseAway
from storage.erasure.erasure_rows import ErasureTarget, Step, mark
from storage.erasure.erasure_steps import ErasureSteps, NotErased
from storage.errors import NoSpace, StorageError
from storage.files.reserved_space import ReservedSpace
from storage.keys.cut_log import Entry, Ledger
from storage.search_forms import stored_of
from storage.timestamps import to_micros
from tests.in_process.storage_node import NOON, StorageNode, opens, record

EXPORT = {"state": "done", "format": "csv", "created_at": 0, "created_by": "a", "expires_at": 0, "sealed": b""}
PAPERS: dict[str, tuple[sa.Table, dict[str, object]]] = {
    "export": (schema.exports, EXPORT),
    "waiver": (schema.waivers, {"document_sha256": "0", "signed_at": 0, "put_at": 0, "put_by": "a", "sealed": b""}),
    "rule": (schema.retention_rules, {"position": 1, "sealed": b""}),
    "user": (schema.users, {"state": "active", "source": "csv", "updated_at": 0, "sealed": b""}),
    "erasure": (schema.erasures, {"state": "waiting", "cause": "request", "requested_at": 0, "requested_by": "a"}),
}  # what may lie under a leaf of a day besides its calls
LATER = NOON + timedelta(days=30)


@pytest.fixture
def ledger(node: StorageNode) -> Ledger:
    return Ledger(node.data / "keys", "acme")


@pytest.fixture
def work(node: StorageNode, acme: Customer) -> ErasureSteps:
    space = ReservedSpace(node.data)
    return ErasureSteps(acme.keys, acme.vault, acme.database, acme.calls, space, acme.exports.unlink)


async def cut(work: ErasureSteps, row: CallRow, now: datetime = NOON) -> None:
    await work.cut([ErasureTarget(row.id, row.leaf)], now)


def last(ledger: Ledger) -> Entry:
    (newest, *_) = ledger.newest_first()
    return newest


def noted_writing(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Say when somebody asks to write."""
    asked, writing = asyncio.Event(), acme.database.writing

    @asynccontextmanager
    async def noted() -> AsyncIterator[AsyncConnection]:
        asked.set()
        async with writing() as connection:
            yield connection

    monkeypatch.setattr(acme.database, "writing", noted)
    return asked


async def index_of_tokens(acme: Customer, leaf: int) -> int:
    """Return the leaf of the key that the tokens of a call are made with."""
    made = schema.call_tokens.join(schema.days, schema.days.c.day == schema.call_tokens.c.day)
    asked = sa.select(schema.days.c.leaf).select_from(made).where(schema.call_tokens.c.leaf == leaf)
    async with acme.database.reading() as connection:
        return int(await connection.scalar(asked.limit(1)) or 0)


async def test_a_past_day_of_which_everything_goes_is_one_cut(
    acme: Customer, work: ErasureSteps, ledger: Ledger
) -> None:
    gone = [await record(acme) for _ in range(4)]
    other = await record(acme, ended=NOON + timedelta(days=1))
    targets = [ErasureTarget(r.id, r.leaf) for r in gone]
    for _ in range(2):
        await work.cut(targets, LATER)
    assert (last(ledger).days, last(ledger).leaves) == ((gone[0].day,), ())
    assert not any(opens(acme, r) for r in gone) and opens(acme, other)
    assert acme.keys.nodes < 40


async def test_a_day_is_cut_whole_only_after_its_last_call_ended(
    acme: Customer, work: ErasureSteps, ledger: Ledger
) -> None:
    for ago, whole in ((1, False), (2, True)):
        row = await record(acme, ended=NOON + timedelta(days=ago))
        await cut(work, row, NOON + timedelta(days=2 * ago))
        assert last(ledger).days == ((row.day,) if whole else ())


async def test_an_erasure_removes_annotations_files_and_holds(acme: Customer, work: ErasureSteps) -> None:
    gone, stays = await record(acme), await record(acme)
    for row in (gone, stays):
        await acme.annotations.add(row.id, "her name is Mirah", "paula")
        await acme.attachments.add(row.id, "chat", "application/json", b"{}", "paula")
        await acme.holds.put(row.id, "court", "paula")
    await work.remove([ErasureTarget(gone.id, gone.leaf)])
    async with acme.database.reading() as connection:
        for table in (schema.annotations, schema.attachments, schema.holds):
            assert list(await connection.scalars(sa.select(table.c.call))) == [stays.id]


@pytest.mark.parametrize("key", ["first", "next"])
async def test_an_index_key_about_to_be_used_is_cut_too(
    node: StorageNode, acme: Customer, work: ErasureSteps, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Else a copy of the database from before the rows went could be asked who called, for ever."""
    row, other = await record(acme), await node.open()
    if key == "next":  # another call of the day stays, and the key before was cut
        await record(acme)
        acme.keys.cut(await acme.calls.index_leaf(row.day) or 0)
    await acme.calls.remove([row.id])
    targets, forms = [ErasureTarget(row.id, row.leaf)], stored_of(row.details["parties"], "DE")
    wants_to_write = noted_writing(acme, monkeypatch)
    async with other.database.writing() as connection:
        await other.calls.put_in(connection, [row], [forms])
        cutting = asyncio.create_task(work.cut(targets, NOON))
        waiting = asyncio.create_task(wants_to_write.wait())
        await asyncio.wait({cutting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await cutting
    assert not acme.keys.keeps(row.leaf)
    index = await index_of_tokens(acme, row.leaf)
    assert index and not acme.keys.keeps(index)
    await other.close()


@pytest.mark.parametrize("survivor", ["call", "row", "files", "today", *PAPERS])
async def test_a_day_with_remaining_calls_loses_only_single_leaves(
    acme: Customer, work: ErasureSteps, ledger: Ledger, survivor: str
) -> None:
    gone, stays = await record(acme), await record(acme)
    if survivor in ("files", *PAPERS):
        await acme.calls.remove([stays.id])
    if survivor in ("row", *PAPERS):
        acme.vault.remove(stays.id, stays.leaf)
    if survivor in PAPERS:
        table, values = PAPERS[survivor]
        async with acme.database.writing() as connection:
            await connection.execute(table.insert(), {**values, "id": "x", "leaf": stays.leaf})
    if survivor == "today":
        await acme.calls.remove([stays.id])
        acme.vault.remove(stays.id, stays.leaf)
    await cut(work, gone, NOON + timedelta(hours=6) if survivor == "today" else LATER)
    assert last(ledger).days == () and gone.leaf in last(ledger).leaves
    assert acme.keys.keeps(stays.leaf) and not acme.keys.keeps(gone.leaf)


async def test_verification_finds_a_key_a_file_a_row(acme: Customer, row: CallRow, work: ErasureSteps) -> None:
    targets = [ErasureTarget(row.id, row.leaf)]
    with pytest.raises(NotErased, match="key"):
        await work.verify(targets)
    await work.cut(targets, NOON)
    with pytest.raises(NotErased, match="files"):
        await work.verify(targets)
    with pytest.raises(NotErased, match="rows"):
        await work.verify(targets)
    await work.remove(targets)
    await work.verify(targets)
    token = {"day": row.day, "token": 1, "leaf": row.leaf}
    async with acme.database.writing() as connection:
        await connection.execute(schema.call_tokens.insert(), token)
    with pytest.raises(NotErased, match="rows"):
        await work.verify(targets)


@pytest.mark.parametrize("whole", [False, True])
async def test_a_cut_missing_from_older_keys_is_repeated_once(
    acme: Customer, work: ErasureSteps, ledger: Ledger, whole: bool
) -> None:
    gone, other = await record(acme), await record(acme, ended=NOON + timedelta(days=1))
    entry = Entry((), NOON, () if whole else (gone.leaf,), (gone.day,) if whole else ())
    for _ in range(2):
        await work.recut([entry])
        assert not acme.keys.keeps(gone.leaf)
    assert acme.keys.keeps(other.leaf)
    assert ledger.last() is None


async def test_no_key_is_forgotten_that_the_ledger_does_not_tell_of(
    acme: Customer, row: CallRow, work: ErasureSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a copy of the keys from before would bring the call back, and nobody would cut it again."""

    def full(_: Ledger, entry: Entry) -> None:
        assert row.leaf in entry.leaves and acme.keys.keeps(row.leaf)
        raise NoSpace("full")

    monkeypatch.setattr(Ledger, "append", full)
    with pytest.raises(NoSpace):
        await cut(work, row)
    assert acme.keys.keeps(row.leaf)


@pytest.mark.parametrize("problem", [NoSpace("full"), DatabaseAway("full")])
async def test_an_erasure_step_is_retried_with_the_reserved_space(
    acme: Customer, work: ErasureSteps, problem: StorageError
) -> None:
    tried: list[bool] = []

    async def once() -> str:
        tried.append(True)
        if len(tried) == 1:
            raise problem
        return "done"

    work.reserve_space()
    assert await work.with_reserve(once) == "done"
    tried.clear()
    with pytest.raises(type(problem)):  # nothing is owned any more
        await work.with_reserve(once)
    assert tried == [True]


async def test_restored_rows_and_files_with_cut_keys_are_removed(acme: Customer, work: ErasureSteps) -> None:
    gone, files, stays = await record(acme), await record(acme), await record(acme, name="Tove Lind")
    await acme.calls.remove([files.id])
    index = await acme.calls.index_leaf(gone.day)
    assert index is not None
    acme.keys.cut(gone.leaf, files.leaf, index)
    assert [d.call for d in await work.clear([gone.day])] == [gone.id, files.id]
    assert {ref.call for ref in acme.vault.of_day(gone.day)} == {stays.id} and opens(acme, stays)
    async with acme.database.reading() as connection:
        assert list(await connection.scalars(sa.select(schema.calls.c.id))) == [stays.id]
    for _ in range(2):  # the second time nothing but the key of the index is gone
        assert [row.id async for row in acme.calls.every(Query(party=Personal("Tove Lind")))] == [stays.id]
        index = await acme.calls.index_leaf(gone.day)
        assert index is not None and acme.keys.keeps(index)
        acme.keys.cut(index)
        assert await work.clear([gone.day]) == []


async def test_a_request_is_forgotten_with_its_last_call(acme: Customer, work: ErasureSteps, ledger: Ledger) -> None:
    row, held, leaf = await record(acme), await record(acme), acme.keys.allocate(65534)
    asked, its = {"requested_at": to_micros(NOON), "requested_by": "paula"}, schema.erasure_calls.c
    values = {"id": "e", "state": "running", "cause": "request", **asked}
    async with acme.database.writing() as connection:
        await connection.execute(schema.erasures.insert(), {**values, "leaf": leaf, "sealed": b"x"})
        for step, each in enumerate((held, row)):
            call = {"erasure": "e", "call": each.id, "leaf": each.leaf, "step": step}
            await connection.execute(schema.erasure_calls.insert(), call)
    await cut(work, row)
    assert (last(ledger).ids, last(ledger).erasures[0].calls) == (("e",), (row.id,))
    assert acme.keys.keeps(leaf)  # the party may have to be looked for again when the hold goes
    async with acme.database.writing() as connection:
        await mark(connection, [row.id], Step.UNLINKED)
        await connection.execute(schema.erasure_calls.update().where(its.call == held.id).values(step=Step.BEGUN))
    await cut(work, held)
    assert not acme.keys.keeps(leaf)
