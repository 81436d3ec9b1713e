"""An export holds what it may hold, opens only while every call in it may be kept, and goes by itself."""

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_row import CallRow
from storage.cursors import BadCursor
from storage.customer.customers import Customer
from storage.database import schema
from storage.errors import NoSpace, PartMissing
from storage.exports import exports
from storage.exports.exports import Export, ExportState, Gone, Request, TooMany
from tests.in_process.storage_node import NOBODY, StorageNode, finish, permit, record

pytestmark = pytest.mark.both_databases

TEXT = b"Mira Okafor,+4930123456\r\n" * 100_000  # several blocks


def asked(*calls: str) -> Request:
    return Request("csv", ("id", "party_name"), "she asked for it", calls or (NOBODY,))


async def begun(acme: Customer, *calls: str) -> Export:
    """Ask for an export and begin to make it."""
    export = await acme.exports.begin((await acme.exports.file(asked(*calls), "paula")).id)
    await acme.exports.admit(export.id, calls)
    return export


async def made(acme: Customer, *calls: str) -> Export:
    """Ask for an export and make it."""
    export = await begun(acme, *calls)
    with acme.exports.sink(export) as sink:
        sink.write(TEXT)
        size = await asyncio.to_thread(sink.finish)
    await acme.exports.finish(export.id, size)
    done = await acme.exports.get(export.id)
    assert done is not None
    return done


async def test_a_request_is_kept_until_it_is_worked_on(node: StorageNode, acme: Customer) -> None:
    request = Request("xlsx", ("party_name", "id"), "Art. 15", None, "Mira Okafor", "wav", True)
    filed = await acme.exports.file(request, "paula")
    assert acme.exports.wanted.is_set()
    assert (filed.state, filed.request, filed.created_by) == (ExportState.RUNNING, request, "paula")
    await acme.close()
    async with node.opened() as again:
        assert await again.exports.unfinished() == (filed.id,)
        assert (await again.exports.get(filed.id)) == filed


async def test_the_file_comes_back_and_nothing_of_it_is_on_the_disk(
    node: StorageNode, acme: Customer, row: CallRow
) -> None:
    export = await made(acme, row.id)
    assert (export.state, export.size_bytes) == (ExportState.DONE, len(TEXT))
    assert b"".join(acme.exports.read(export)) == TEXT
    assert {ref.call for ref in acme.vault.walk()} == {row.id}, "an export is no recording"
    raw = node.raw()
    assert b"Okafor" not in raw and b"30123456" not in raw and b"she asked" not in raw


async def test_an_erased_call_takes_the_export_with_it(acme: Customer) -> None:
    row, other = await record(acme), await record(acme)
    export, stays = await made(acme, row.id, other.id), await made(acme, other.id)
    await permit(acme)
    await finish(acme, calls=[row.id])
    assert await acme.exports.get(export.id) is None
    with pytest.raises(PartMissing):
        list(acme.exports.read(export))
    assert not acme.keys.keeps(export.leaf)
    assert b"".join(acme.exports.read(stays)) == TEXT
    assert [p.name.split(".")[0] for p in (acme.folder / "exports").rglob("*") if p.is_file()] == [stays.id]


async def test_a_call_that_is_being_erased_is_left_out(acme: Customer) -> None:
    gone, stays = await record(acme), await record(acme)
    await permit(acme)
    await finish(acme, calls=[gone.id])
    filed = await acme.exports.file(asked(), "paula")
    assert await acme.exports.admit(filed.id, [gone.id, stays.id, stays.id]) == {stays.id}
    assert await acme.exports.admit(filed.id, [stays.id]) == {stays.id}


async def test_an_erasure_ends_a_running_export_of_its_call(acme: Customer, row: CallRow) -> None:
    export = await begun(acme, row.id)
    with acme.exports.sink(export) as sink:
        sink.write(TEXT)
        await permit(acme)
        await finish(acme, calls=[row.id])
        with pytest.raises(Gone):
            await acme.exports.admit(export.id, [])
        with pytest.raises(PartMissing):
            sink.finish()
        with pytest.raises(Gone):
            await acme.exports.finish(export.id, 1)


async def test_cancelling_forgets_request_and_file(acme: Customer, row: CallRow) -> None:
    export = await made(acme, row.id)
    for _ in range(2):
        cancelled = await acme.exports.cancel(export.id)
        assert cancelled and (cancelled.state, cancelled.request) == (ExportState.CANCELLED, None)
    assert not acme.keys.keeps(export.leaf)
    with pytest.raises(PartMissing):
        list(acme.exports.read(export))
    assert await acme.exports.cancel(NOBODY) is None
    assert await acme.exports.unfinished() == ()


async def test_a_failure_says_why_and_keeps_nothing_else(acme: Customer) -> None:
    filed = await acme.exports.file(asked(), "paula")
    await acme.exports.fail(filed.id, "There is no room.")
    failed = await acme.exports.get(filed.id)
    assert failed and (failed.state, failed.problem, failed.request) == (ExportState.FAILED, "There is no room.", None)
    await acme.exports.fail(filed.id, "Something else.")
    assert await acme.exports.get(filed.id) == failed


async def test_a_job_begun_again_starts_from_nothing_and_not_for_ever(acme: Customer, row: CallRow) -> None:
    id = (await acme.exports.file(asked(row.id), "paula")).id
    for _ in range(exports.MAX_TRIES):
        export = await acme.exports.begin(id)
        await acme.exports.admit(id, [row.id])
        acme.exports.sink(export).close()  # the process ends here
    with pytest.raises(Gone):
        await acme.exports.begin(id)
    failed = await acme.exports.get(id)
    assert failed and failed.state is ExportState.FAILED


async def test_an_export_expires_and_a_file_without_a_row_goes(node: StorageNode, acme: Customer, row: CallRow) -> None:
    stray = await made(acme, row.id)
    async with acme.database.writing() as connection:
        await connection.execute(schema.exports.delete())
    export = await made(acme, row.id)
    node.watch.wait(days=exports.KEEP_DAYS)
    assert await acme.exports.get(export.id) is None
    assert await acme.exports.tidy() == 2
    assert not acme.keys.keeps(export.leaf) and not acme.keys.keeps(stray.leaf)
    assert [p for p in (acme.folder / "exports").rglob("*") if p.is_file()] == []
    assert await acme.exports.tidy() == 0


async def test_the_disk_is_asked_before_each_block(acme: Customer) -> None:
    full = Mock(side_effect=NoSpace("there is no room"))
    with acme.exports.sink(await begun(acme), full) as sink, pytest.raises(NoSpace):
        sink.write(TEXT)


async def test_only_so_many_wait(node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MAX_RUNNING", 2)
    first = await acme.exports.file(asked(), "paula")
    node.watch.wait(seconds=1)
    second = await acme.exports.file(asked(), "paula")
    assert await acme.exports.unfinished() == (first.id, second.id)
    with pytest.raises(TooMany):
        await acme.exports.file(asked(), "paula")
    await acme.exports.cancel(first.id)
    await acme.exports.file(asked(), "paula")


async def test_the_list_has_retrievable_exports_newest_first(node: StorageNode, acme: Customer) -> None:
    filed = []
    for _ in range(3):
        filed.append((await acme.exports.file(asked(), "paula")).id)
        node.watch.wait(minutes=1)
    await acme.exports.file(Request("report", (), "letter", (NOBODY,), case=NOBODY), "paula")
    first, cursor = await acme.exports.listed(2)
    assert [each.id for each in first] == [filed[2], filed[1]] and cursor is not None
    rest, end = await acme.exports.listed(2, cursor)
    assert ([each.id for each in rest], end) == ([filed[0]], None)
    with pytest.raises(BadCursor):
        await acme.exports.listed(2, "3 May")
    node.watch.wait(days=exports.KEEP_DAYS)
    assert await acme.exports.listed(2) == ((), None)


async def test_an_export_and_its_side_effects_are_one_transaction(acme: Customer) -> None:
    heard: list[tuple[str, str, object]] = []

    async def refuse(connection: AsyncConnection, id: str) -> None:
        raise RuntimeError

    async def hear(connection: AsyncConnection, export: Export, state: ExportState, facts: Any) -> None:
        heard.append((export.id, state.value, facts.get("sha256")))

    acme.exports.on_end(hear)
    asked = Request("csv", ("id",), "Art. 15", passphrase="correct horse")
    with pytest.raises(RuntimeError):
        await acme.exports.file(asked, "paula", refuse)
    assert await acme.exports.unfinished() == ()
    made = await acme.exports.file(asked, "paula")
    with acme.exports.sink(await acme.exports.begin(made.id)) as sink:
        await acme.exports.finish(made.id, sink.finish(), {"sha256": "00"})
    found = await acme.exports.get(made.id)
    assert found and found.request and found.request.passphrase is None and found.request.reason == "Art. 15"
    gone = await acme.exports.file(asked, "paula")
    await acme.exports.cancel(gone.id)
    assert heard == [(made.id, "done", "00"), (gone.id, "cancelled", None)]


async def test_exports_that_hold_a_call_are_named_and_dropped(acme: Customer) -> None:
    ids = [(await record(acme)).id for _ in range(2)]
    one, other = await begun(acme, *ids), await begun(acme, ids[1])
    assert await acme.exports.holding(ids) == {one.id: set(ids), other.id: {ids[1]}}
    assert await acme.exports.holding([ids[0], "no id"]) == {one.id: {ids[0]}}
    await acme.exports.drop([one.id, "unknown"])
    await acme.exports.drop([one.id])
    assert await acme.exports.get(one.id) is None and not acme.keys.keeps(one.leaf)
    assert await acme.exports.get(other.id) is not None
    assert await acme.exports.forget([ids[1], "no id", NOBODY]) == 1
    assert await acme.exports.forget([ids[1]]) == 0
    assert await acme.exports.get(other.id) is None and not acme.keys.keeps(other.leaf)
