"""A journal loses what counts no more and nothing else, whatever stops it half-way."""

import asyncio
import json
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.database import schema
from storage.errors import DiskFailed
from storage.files.append_log import LineFile
from storage.files.durable_files import Disk
from storage.journal import compaction, journal, replay
from storage.journal.compaction import compact
from storage.journal.journal import Item, Journal
from storage.keys.key_tree import LAST_LEAF
from tests.in_process.storage_node import StorageNode, finish, permit, record
from tests.storage.journal_rows import FILE, dump, fill, reopened, without_calls


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LEAST", 0)


async def talk_much(acme: Customer, times: int = 60) -> None:
    """Change the reason of one hold again and again."""
    row = await record(acme)
    for number in range(times):
        await acme.holds.put(row.id, f"reason {number}", "paula")


async def test_compacting_an_outdated_journal_keeps_its_content(node: StorageNode, acme: Customer) -> None:
    asked = await fill(acme)
    await talk_much(acme)
    told, before = acme.journal.read(), (node.data / FILE).stat().st_size
    assert await compact(acme.journal, acme.database)
    assert (node.data / FILE).stat().st_size < before / 2
    assert acme.journal.read() == told
    assert not await compact(acme.journal, acme.database), "what is left counts"
    rows = without_calls(await dump(acme), asked)
    await permit(acme)
    rows["waivers"] = (await dump(acme))["waivers"]
    await acme.close()
    async with reopened(node) as again:
        assert await dump(again) == rows


async def test_a_small_journal_or_one_that_counts_is_left_alone(
    acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await permit(acme)
    assert not await compact(acme.journal, acme.database)
    await talk_much(acme)
    monkeypatch.setattr(compaction, "LEAST", 1 << 20)
    assert not await compact(acme.journal, acme.database)


async def test_a_compacted_journal_holds_nothing_erased(node: StorageNode, acme: Customer) -> None:
    await talk_much(acme)
    row = await record(acme, name="Tove Lind", number="+4940777888")
    await acme.annotations.add(row.id, "Notary Fettlewick", "paula")
    leaf = f'"{row.leaf:012x}"'.encode()
    assert leaf in (node.data / FILE).read_bytes()
    await permit(acme)
    await finish(acme, calls=[row.id])
    assert await compact(acme.journal, acme.database)
    assert leaf not in (node.data / FILE).read_bytes()
    assert acme.journal.read()["annotations"] == {}


async def test_a_journal_compacted_to_nothing_stays_usable(acme: Customer, row: CallRow) -> None:
    for _ in range(3):
        await acme.holds.put(row.id, "court", "paula")
        await acme.holds.remove(row.id)
    newest = acme.journal.newest
    assert await compact(acme.journal, acme.database)
    assert acme.journal.newest == newest and not any(acme.journal.read().values())
    await permit(acme)
    assert len(acme.journal.read()["waivers"]) == 1
    assert await replay.differences(acme.journal, acme.database) == {}


@pytest.mark.parametrize("step", ["write", "sync", "rename", "sync_folder"])
async def test_a_crash_at_any_step_leaves_the_old_file_or_the_new_one(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await talk_much(acme)
    told = acme.journal.read()

    def killed(*_: object) -> None:
        raise DiskFailed("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(Disk, step, killed)
        with pytest.raises(DiskFailed):
            await compact(acme.journal, acme.database)
    assert not list((node.data / "customers/acme").glob(".papers*")), "a full disk has better uses"
    await acme.close()
    async with node.opened() as again:
        assert again.journal.read() == told
        assert await replay.differences(again.journal, again.database) == {}
        await permit(again)
        await compact(again.journal, again.database)
        assert len(again.journal.read()["waivers"]) == 1


async def test_lines_written_during_compaction_are_kept(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    await talk_much(acme)
    newest, draft = acme.journal.newest, Journal.draft
    drafted, written = threading.Event(), threading.Event()

    def waiting(self: Journal, path: Path, lines: Iterable[bytes]) -> None:
        draft(self, path, lines)
        drafted.set()
        assert written.wait(60)

    async def write() -> None:
        await asyncio.to_thread(drafted.wait, 60)
        await permit(acme)
        written.set()

    monkeypatch.setattr(Journal, "draft", waiting)
    done, _ = await asyncio.gather(compact(acme.journal, acme.database), write())
    assert done and len(acme.journal.read()["waivers"]) == 1
    *base, last = [head for head, _ in acme.journal.lines()]
    assert last.number == newest + 1 and {head.number for head in base} == {newest}


@pytest.mark.parametrize("damaged", [False, True])
async def test_nothing_is_done_while_a_line_is_half_kept_or_damaged(
    node: StorageNode, acme: Customer, damaged: bool
) -> None:
    await talk_much(acme)
    path = node.data / FILE
    if damaged:
        path.write_bytes(path.read_bytes().replace(b'"items"', b'"itens"', 1))
    else:  # of a transaction that never came to its end
        await acme.journal.write([Item(LAST_LEAF, schema.retention.name, None, {})])
    before = path.read_bytes()
    assert not await compact(acme.journal, acme.database)
    assert path.read_bytes() == before
    assert not list((node.data / "customers/acme").glob(".papers*"))


async def test_lines_of_a_killed_writer_are_ignored(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LineFile, "take_back", lambda self, line: False)  # as where the process was killed
    row = await record(acme)
    await permit(acme)
    with pytest.raises(RuntimeError):
        async with acme.database.writing():
            await acme.journal.write([journal.dropped(schema.waivers)])
            await acme.journal.write([journal.dropped(schema.waivers)])
            raise RuntimeError("rolled back")
    await acme.holds.put(row.id, "court", "paula")
    told = acme.journal.read()
    assert len(told["waivers"]) == len(told["holds"]) == 1
    numbers = [json.loads(line)["n"] for line in (node.data / FILE).read_bytes().splitlines()]
    assert numbers == [1, 2, 3, 2]
    assert await compact(acme.journal, acme.database) or acme.journal.read() == told
    assert acme.journal.read() == told


async def test_compaction_keeps_another_processs_new_file(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await talk_much(acme)
    path, draft = node.data / FILE, Journal.draft
    begun = b"".join(line for _, line in acme.journal.lines())

    def replaced(self: Journal, target: Path, lines: Iterable[bytes]) -> None:
        draft(self, target, lines)
        (path.parent / "new").write_bytes(begun)
        (path.parent / "new").rename(path)

    monkeypatch.setattr(Journal, "draft", replaced)
    assert not await compact(acme.journal, acme.database)
    assert path.read_bytes() == begun
