"""Each step does its part, may be done twice, and says so if something is left."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_row import Query
from storage.customer.customers import Customer
from storage.database import schema
from storage.database.database import DatabaseAway
from storage.erasure.cut_log import Entry, Ledger
from storage.erasure.erasure_rows import ErasureTarget, Step, mark
from storage.erasure.erasure_steps import ErasureSteps, NotErased
from storage.errors import NoSpace, StorageError
from storage.files.reserved_space import ReservedSpace
from storage.search_forms import stored_of
from storage.timestamps import to_micros
from tests.in_process.storage_node import NOON, StorageNode, opens, record, story

EXPORT = {"state": "done", "format": "csv", "created_at": 0, "created_by": "a", "expires_at": 0, "sealed": b""}
EXPORTS = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
PAPERS: dict[str, tuple[sa.Table, dict[str, object]]] = {
    "export": (schema.exports, EXPORT),
    "waiver": (schema.waivers, {"document_sha256": "0", "signed_at": 0, "put_at": 0, "put_by": "a", "sealed": b""}),
    "rule": (schema.retention_rules, {"position": 1, "sealed": b""}),
    "user": (schema.users, {"state": "active", "source": "csv", "updated_at": 0, "sealed": b""}),
    "erasure": (schema.erasures, {"state": "waiting", "cause": "request", "requested_at": 0, "requested_by": "a"}),
}  # what may lie under a leaf of a day besides its calls
LATER = NOON + timedelta(days=30)


async def nothing(_: Sequence[str]) -> None:
    """Stand for exports that hold none of the calls."""


def steps(
    node: StorageNode, acme: Customer, derived: Callable[[Sequence[str]], Awaitable[None]] = nothing
) -> tuple[ErasureSteps, Ledger]:
    ledger = Ledger(node.data / "keys", "acme")
    return ErasureSteps(
        acme.keys, acme.vault, acme.database, acme.calls, ledger, ReservedSpace(node.data), derived
    ), ledger


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


def test_a_past_day_of_which_everything_goes_is_one_cut(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, ledger = steps(node, acme)
        gone = [await record(acme) for _ in range(4)]
        other = await record(acme, ended=NOON + timedelta(days=1))
        targets = [ErasureTarget(r.id, r.leaf) for r in gone]
        for _ in range(2):
            await work.cut(targets, LATER)
        last = ledger.last()
        assert last and (last.days, last.leaves) == ((gone[0].day,), ())
        assert not any(opens(acme, r) for r in gone) and opens(acme, other)
        assert acme.keys.nodes < 40

    story(tmp_path, tell)


def test_a_day_is_cut_whole_only_after_its_last_call_ended(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, ledger = steps(node, acme)
        for ago in (1, 2):
            row = await record(acme, ended=NOON + timedelta(days=ago))
            await work.cut([ErasureTarget(row.id, row.leaf)], NOON + timedelta(days=2 * ago))
            last = ledger.last()
            assert last and last.days == (() if ago == 1 else (row.day,))

    story(tmp_path, tell)


def test_an_erasure_removes_annotations_files_and_holds(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, _ = steps(node, acme)
        gone, stays = await record(acme), await record(acme)
        for row in (gone, stays):
            await acme.annotations.add(row.id, "her name is Mirah", "paula")
            await acme.attachments.add(row.id, "chat", "application/json", b"{}", "paula")
            await acme.holds.put(row.id, "court", "paula")
        await work.remove([ErasureTarget(gone.id, gone.leaf)])
        async with acme.database.reading() as connection:
            for table in (schema.annotations, schema.attachments, schema.holds):
                assert list(await connection.scalars(sa.select(table.c.call))) == [stays.id]

    story(tmp_path, tell)


@pytest.mark.parametrize("key", ["first", "next"])
def test_an_index_key_about_to_be_used_is_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Else a copy of the database from before the rows went could be asked who called, for ever."""

    async def tell(node: StorageNode, acme: Customer) -> None:
        work, _ = steps(node, acme)
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

    story(tmp_path, tell)


@pytest.mark.parametrize("survivor", ["call", "row", "files", "today", *PAPERS])
def test_a_day_with_remaining_calls_loses_only_single_leaves(tmp_path: Path, survivor: str) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, ledger = steps(node, acme)
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
        await work.cut([ErasureTarget(gone.id, gone.leaf)], NOON + timedelta(hours=6) if survivor == "today" else LATER)
        last = ledger.last()
        assert last and last.days == () and gone.leaf in last.leaves
        assert acme.keys.keeps(stays.leaf) and not acme.keys.keeps(gone.leaf)

    story(tmp_path, tell)


def test_an_export_with_an_erased_call_goes_with_it(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        derived: list[str] = []

        async def forget(ids: Sequence[str]) -> None:
            derived.extend(ids)

        work, _ = steps(node, acme, forget)
        gone, stays = await record(acme), await record(acme)
        leaf = acme.keys.allocate(gone.day)
        async with acme.database.writing() as connection:
            for id, its, call in (EXPORTS[0], leaf, gone.id), (EXPORTS[1], acme.keys.allocate(gone.day), stays.id):
                os.close(acme.vault.create(id, its, "a1").fd)
                await connection.execute(schema.exports.insert(), {**EXPORT, "id": id, "leaf": its})
                await connection.execute(schema.export_calls.insert(), {"export": id, "call": call})
        await work.cut([ErasureTarget(gone.id, gone.leaf)], NOON)
        await work.unlink([ErasureTarget(gone.id, gone.leaf)])
        await work.remove([ErasureTarget(gone.id, gone.leaf)])
        assert derived == [gone.id]
        assert not acme.keys.keeps(leaf)
        assert {ref.call for ref in acme.vault.of_day(gone.day)} == {stays.id, EXPORTS[1]}
        async with acme.database.reading() as connection:
            assert list(await connection.scalars(sa.select(schema.exports.c.id))) == [EXPORTS[1]]
            assert list(await connection.scalars(sa.select(schema.export_calls.c.export))) == [EXPORTS[1]]

    story(tmp_path, tell)


def test_verification_finds_a_key_a_file_a_row(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, _ = steps(node, acme)
        row = await record(acme)
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

    story(tmp_path, tell)


@pytest.mark.parametrize("whole", [False, True])
def test_a_cut_missing_from_older_keys_is_repeated_once(tmp_path: Path, whole: bool) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, ledger = steps(node, acme)
        gone, other = await record(acme), await record(acme, ended=NOON + timedelta(days=1))
        entry = Entry((), NOON, () if whole else (gone.leaf,), (gone.day,) if whole else ())
        for _ in range(2):
            await work.recut(entry)
            assert not acme.keys.keeps(gone.leaf)
        assert acme.keys.keeps(other.leaf)
        assert ledger.last() is None

    story(tmp_path, tell)


def test_no_key_is_forgotten_that_the_ledger_does_not_tell_of(tmp_path: Path) -> None:
    """Else a copy of the keys from before would bring the call back, and nobody would cut it again."""

    async def tell(node: StorageNode, acme: Customer) -> None:
        work, ledger = steps(node, acme)
        row = await record(acme)

        def full(entry: Entry) -> None:
            assert acme.keys.keeps(row.leaf)
            raise NoSpace("full")

        ledger.append = full  # type: ignore[method-assign]  # a disk without space
        with pytest.raises(NoSpace):
            await work.cut([ErasureTarget(row.id, row.leaf)], NOON)
        assert acme.keys.keeps(row.leaf)

    story(tmp_path, tell)


@pytest.mark.parametrize("problem", [NoSpace("full"), DatabaseAway("full")])
def test_an_erasure_step_is_retried_with_the_reserved_space(tmp_path: Path, problem: StorageError) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, _ = steps(node, acme)
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

    story(tmp_path, tell)


def test_restored_rows_and_files_with_cut_keys_are_removed(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, _ = steps(node, acme)
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
            assert [row.id async for row in acme.calls.every(Query(party="Tove Lind"))] == [stays.id]
            index = await acme.calls.index_leaf(gone.day)
            assert index is not None and acme.keys.keeps(index)
            acme.keys.cut(index)
            assert await work.clear([gone.day]) == []

    story(tmp_path, tell)


def test_a_request_is_forgotten_with_its_last_call(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        work, ledger = steps(node, acme)
        row, held, leaf = await record(acme), await record(acme), acme.keys.allocate(65534)
        asked, its = {"requested_at": to_micros(NOON), "requested_by": "paula"}, schema.erasure_calls.c
        values = {"id": "e", "state": "running", "cause": "request", **asked}
        async with acme.database.writing() as connection:
            await connection.execute(schema.erasures.insert(), {**values, "leaf": leaf, "sealed": b"x"})
            for step, each in enumerate((held, row)):
                call = {"erasure": "e", "call": each.id, "leaf": each.leaf, "step": step}
                await connection.execute(schema.erasure_calls.insert(), call)
        await work.cut([ErasureTarget(row.id, row.leaf)], NOON)
        last = ledger.last()
        assert last and (last.ids, last.erasures[0].calls) == (("e",), (row.id,))
        assert acme.keys.keeps(leaf)  # the party may have to be looked for again when the hold goes
        async with acme.database.writing() as connection:
            await mark(connection, [row.id], Step.UNLINKED)
            await connection.execute(schema.erasure_calls.update().where(its.call == held.id).values(step=Step.BEGUN))
        await work.cut([ErasureTarget(held.id, held.leaf)], NOON)
        assert not acme.keys.keeps(leaf)

    story(tmp_path, tell)
