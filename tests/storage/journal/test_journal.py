"""What exists only in the database is written beside it, line by line, sealed under what it belongs to."""

import asyncio
import base64
import json
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from storage.calls.call_row import CallRow, Query
from storage.customer.customers import Customer
from storage.database import schema
from storage.errors import NoSpace, SealBroken
from storage.files.append_log import LineFile
from storage.journal import journal
from storage.journal.journal_format import Head
from tests.in_process.storage_node import StorageNode, permit
from tests.storage.journal_rows import FILE, compacted_anyhow, fill


async def test_a_line_that_was_changed_is_refused(node: StorageNode, acme: Customer) -> None:
    await permit(acme)
    path = node.data / FILE
    line = json.loads(path.read_bytes())
    number, leaf, box = line["items"][0]
    flipped = bytearray(base64.b64decode(box))
    flipped[20] ^= 1
    unbound = {name: value for name, value in line.items() if name != "v"}
    wrong = [
        {**line, "id": "00"},
        {**line, "n": 2},
        {**line, "n": 2, "base": True},
        {"id": line["id"], "v": 2, "n": 2, "base": True, "of": 2, "items": line["items"]},
        unbound,
        {**line, "items": [[number + 1, leaf, box]]},
        {**line, "items": [[number, "0000fffe0000", box]]},
        {**line, "items": [[number, leaf, base64.b64encode(flipped).decode()]]},
        {**line, "items": 7},
        [],
    ]
    for each in wrong:
        path.write_text(json.dumps(each) + "\n")
        with pytest.raises(SealBroken):
            journal.Journal(path.parent, acme.keys).read()


def swapped(a: bytes, b: bytes) -> list[bytes]:
    """Give two lines each the number of the other."""
    one, two = json.loads(a), json.loads(b)
    one["n"], two["n"] = two["n"], one["n"]
    return [json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in (two, one)]


EDITS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "two numbers are swapped": lambda lines: [*swapped(*lines[:2]), *lines[2:]],
    "two lines change places": lambda lines: [lines[1], lines[0], *lines[2:]],
    "the newest two change places": lambda lines: [*lines[:-2], lines[-1], lines[-2]],
    "one is taken out": lambda lines: [lines[0], *lines[2:]],
    "the first is taken out": lambda lines: lines[1:],
    "an old one is put behind the newest": lambda lines: [*lines, lines[1]],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
async def test_moved_or_removed_lines_are_detected(
    node: StorageNode, acme: Customer, row: CallRow, edit: Callable[[list[bytes]], list[bytes]]
) -> None:
    await permit(acme)
    await acme.holds.put(row.id, "court", "paula")
    await acme.holds.remove(row.id)
    await acme.holds.put(row.id, "court again", "paula")
    path = node.data / FILE
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(SealBroken):
        journal.Journal(path.parent, acme.keys).read()


async def test_lines_of_the_first_version_are_read_and_compacted(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Head.new
    with monkeypatch.context() as patch:
        patch.setattr(Head, "new", lambda *a, **k: replace(new(*a, **k), version=1, origin=0))
        await fill(acme)
    old = (node.data / FILE).read_bytes()
    assert b'"v":2' not in old
    await permit(acme)
    told = acme.journal.read()
    assert (node.data / FILE).read_bytes().startswith(old) and len(told["waivers"]) == 2
    await compacted_anyhow(acme, monkeypatch)
    assert acme.journal.read() == told
    versions = {head.version for head, _ in acme.journal.lines()}
    assert versions == {1, 2}


async def test_a_rolled_back_change_does_not_return_at_the_next_start(
    node: StorageNode, acme: Customer, row: CallRow
) -> None:
    await permit(acme)
    await acme.holds.put(row.id, "court", "paula")
    before = (node.data / FILE).read_bytes()
    with pytest.raises(RuntimeError):
        async with acme.database.writing():
            await acme.journal.write([journal.dropped(schema.holds, row.leaf, call=row.id)])
            raise RuntimeError("rolled back")
    assert (node.data / FILE).read_bytes().rstrip(b"\0") == before
    await acme.close()
    async with node.opened() as again:
        assert await again.holds.get(row.id)


async def test_a_line_of_a_cancelled_writer_is_taken_back(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await permit(acme)
    before, append = (node.data / FILE).read_bytes(), LineFile.append
    entered, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def slow(self: LineFile, line: bytes) -> None:
        entered.set()
        assert go_on.wait(60)
        append(self, line)
        over.set()

    with monkeypatch.context() as patch:
        patch.setattr(LineFile, "append", slow)
        task = asyncio.ensure_future(permit(acme))
        await asyncio.to_thread(entered.wait, 60)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(over.wait, 60)
    assert (node.data / FILE).read_bytes() == before
    await permit(acme)
    assert len(acme.journal.read()["waivers"]) == 2


async def test_a_change_that_cannot_be_journalled_is_not_made(
    acme: Customer, row: CallRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    await permit(acme)

    async def full(_: object) -> None:
        raise NoSpace("no space")

    monkeypatch.setattr(journal.Journal, "write", lambda self, items: full(items))
    with pytest.raises(NoSpace, match="no space"):
        await acme.holds.put(row.id, "court", "paula")
    with pytest.raises(NoSpace, match="no space"):
        await acme.erasures.file(calls=[row.id], reason="x", by="paula")
    assert await acme.holds.get(row.id) is None and await acme.erasures.open() == ()
    assert (await acme.calls.find(Query())).items[0].hold is False


def test_every_table_that_is_no_index_is_in_the_journal() -> None:
    index = {*"about calls call_tokens days exports export_calls journal_mark user_changes matching nodes".split()}
    cut, shared = ("cuts", "cut_erasures", "cut_acknowledgements"), ("shared_files", "page_sessions")
    several = {*cut, *shared, "job_leases", "journal_rows", "audit_copies"}
    assert {table.name for table in journal.TABLES} | index | several >= set(schema.metadata.tables)
