"""Every defect is named; what a running daemon does meanwhile is none."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from recorder.maintenance import verify
from recorder.maintenance.verify import refused, verify_customer
from recorder.persist import indexer
from storage.audit.hash_chain import Act
from storage.calls.call_document import wrapped
from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.errors import KeysMissing, NoSpace, SealBroken
from tests.in_process.recorder_node import stage
from tests.in_process.storage_node import record

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(indexer, "SETTLE_SECONDS", 0.0)


async def defects(acme: Customer, *wanted: str) -> list[tuple[str, str]]:
    report = await verify_customer(acme, wanted, lambda n: None)
    return sorted((d["part"], d["kind"]) for d in report.defects)


async def stored(acme: Customer) -> CallRow:
    """Record a call whose row knows the size of its files."""
    row = await record(acme)
    size = sum(part.path.stat().st_size for part in acme.vault.parts(row.id, row.leaf))
    await acme.calls.put([replace(row, size_bytes=size)], [()])
    return replace(row, size_bytes=size)


def change(acme: Customer, statement: str) -> None:
    """Change the database behind the back of the node."""
    with closing(sqlite3.connect(acme.folder / "index.sqlite3")) as database, database:
        database.execute(statement)


async def test_verify_accepts_finished_and_live_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(tmp_path) as one:
        one.invite("c1")
        one.bye("c1")
        await one.until(lambda: not len(one.live))
        await one.indexer.drain(30)
        one.invite("c2")

        async def indexed(_: float) -> None:
            await one.indexer.drain(30)

        monkeypatch.setattr(verify, "asyncio", SimpleNamespace(sleep=indexed, to_thread=asyncio.to_thread))
        assert await defects(one.customers["acme"]) == []


async def test_an_altered_byte_a_lost_file_and_a_lost_row_are_found(acme: Customer) -> None:
    altered, lost, unknown = [await stored(acme) for _ in range(3)]
    assert await defects(acme) == []
    path = acme.vault.parts(altered.id, altered.leaf)[0].path
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    assert [part for part, _ in await defects(acme)] == ["c1"]
    assert await defects(acme, altered.id) == await defects(acme)
    acme.vault.remove(lost.id, lost.leaf)
    assert await defects(acme, lost.id) == [("", "call without recording")]
    await acme.calls.remove([unknown.id])
    assert await defects(acme, unknown.id) == [("", "recording that the index lacks")]


async def test_missing_media_is_found_unless_it_is_just_erased(
    tmp_path: Path, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await stored(acme)
    with monkeypatch.context() as patch:  # a walk that saw the call while it was being erased or restored
        walk = acme.vault.walk
        patch.setattr(acme.vault, "walk", lambda: (ref for ref in walk() if ref.part != "m1"))
        assert await defects(acme) == []
    media = acme.vault.parts(row.id, row.leaf)[1].path
    aside = media.rename(tmp_path / "aside")
    assert await defects(acme) == await defects(acme, row.id) == [("", verify.LACKING)]
    await acme.attachments.add(row.id, "chat", "application/json", b'"' + b"x" * 50_000 + b'"', "paula")
    spoken = replace(row, details=wrapped({**row.details, "streams": [{"packets": 1}]}))
    await acme.calls.put([spoken], [()])
    assert await defects(acme) == [("", verify.LACKING)]  # what was attached since does not stand for it
    aside.rename(media)
    assert await defects(acme) == []


async def test_an_open_part_of_a_finished_call_is_a_defect(acme: Customer) -> None:
    row = await stored(acme)
    part = acme.vault.parts(row.id, row.leaf)[1]
    part.path.rename(acme.folder / "vault/open" / part.path.name)
    assert await defects(acme) == [("m1", "open but nobody writes it")]


async def test_a_damaged_row_and_a_missing_attachment_are_found(tmp_path: Path, acme: Customer) -> None:
    row = await stored(acme)
    await acme.holds.put(row.id, "court", "paula")
    made = await acme.attachments.add(row.id, "chat", "application/json", b"{}", "paula")
    part = acme.vault.find(row.id, row.leaf, made.part)
    assert part and await defects(acme) == []
    part.path.rename(tmp_path / "aside")
    assert await defects(acme) == [("a1", "attachment without its part")]
    (tmp_path / "aside").rename(part.path)
    change(acme, "DELETE FROM holds")
    assert await defects(acme) == [("papers.journal", "1 rows of holds differ from the database")]
    await acme.holds.put(row.id, "court", "paula")
    assert await defects(acme) == []
    change(acme, "UPDATE calls SET sealed = zeroblob(64)")
    assert await defects(acme) == [("", verify.UNREADABLE)]
    acme.vault.remove(row.id, row.leaf)
    assert ("", "1 rows of the index that do not open") in await defects(acme)


async def test_a_cut_audit_log_and_a_damaged_journal_are_found(acme: Customer) -> None:
    for _ in range(2):
        acme.audit.append(Act("ada", "admin", "call.view")).result()
    log, papers = acme.folder / "audit.jsonl", acme.folder / "papers.journal"
    await acme.rules.put([], by="ada", default_days=90)
    assert await defects(acme) == []
    whole = log.read_bytes()
    log.write_bytes(whole.splitlines(keepends=True)[0])
    ((where, what),) = await defects(acme)
    assert where == "audit.jsonl" and what.startswith("entry 2 is missing")
    log.write_bytes(whole)
    papers.write_bytes(papers.read_bytes().replace(b'"items":[[0', b'"items":[[1'))
    assert await defects(acme) == [("papers.journal", "a line that does not open")]


def test_an_unavailable_database_is_no_defect() -> None:
    assert refused("acme", SealBroken("the journal is another customer's")).defects[0]["customer"] == "acme"
    for away in (DatabaseAway("away"), KeysMissing("no keys"), NoSpace("full")):
        with pytest.raises(type(away)):
            refused("acme", away)
