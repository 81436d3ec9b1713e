"""Every defect is named; a running daemon is none."""

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
from storage.database.database import DatabaseAway
from storage.errors import KeysMissing, NoSpace, SealBroken
from tests.recorder.in_process_node import Stage


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(indexer, "SETTLE_SECONDS", 0.0)


async def defects(one: Stage, *wanted: str) -> list[tuple[str, str]]:
    report = await verify_customer(one.node.customers["acme"], wanted, lambda n: None)
    return sorted((d["part"], d["kind"]) for d in report.defects)


async def stored(one: Stage, name: str) -> tuple[str, int]:
    call = one.invite(name)
    one.bye(name)
    await one.until(lambda: call not in list(one.live))
    await one.node.indexer.drain(30)
    return call.id, call.leaf


async def test_verify_accepts_finished_and_live_calls(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stored(one, "c1")
    one.invite("c2")

    async def indexed(_: float) -> None:
        await one.node.indexer.drain(30)

    as_long_as_it_takes = SimpleNamespace(sleep=indexed, to_thread=asyncio.to_thread)
    monkeypatch.setattr(verify, "asyncio", as_long_as_it_takes)
    assert await defects(one) == []


async def test_an_altered_byte_a_lost_file_and_a_lost_row_are_found(one: Stage) -> None:
    vault, calls = one.node.customers["acme"].vault, one.node.customers["acme"].calls
    altered, leaf = await stored(one, "c1")
    path = vault.parts(altered, leaf)[0].path
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    assert [part for part, _ in await defects(one)] == ["c1"]
    assert await defects(one, altered) == await defects(one)
    lost, leaf = await stored(one, "c2")
    vault.remove(lost, leaf)
    assert await defects(one, lost) == [("", "call without recording")]
    unknown, _ = await stored(one, "c3")
    await calls.remove([unknown])
    assert await defects(one, unknown) == [("", "recording that the index lacks")]


async def test_a_file_of_media_that_is_gone_is_found(one: Stage, tmp_path: Path) -> None:
    call, leaf = await stored(one, "c1")
    acme = one.node.customers["acme"]
    media = acme.vault.parts(call, leaf)[1].path
    aside = media.rename(tmp_path / "aside")
    assert await defects(one) == [("", verify.LACKING)]
    assert await defects(one, call) == [("", verify.LACKING)]
    await acme.attachments.add(call, "chat", "application/json", b'"' + b"x" * 50_000 + b'"', "paula")
    row = await acme.calls.get(call)
    assert row
    spoken = replace(row, details={**row.details, "streams": [{"packets": 1}]})
    await acme.calls.put([spoken], [()])
    assert await defects(one) == [("", verify.LACKING)]  # what was attached since does not stand for it
    aside.rename(media)
    assert await defects(one) == []


async def test_a_call_that_is_erased_or_back_meanwhile_lacks_nothing(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(one, "c1")
    acme = one.node.customers["acme"]
    walk = acme.vault.walk
    monkeypatch.setattr(acme.vault, "walk", lambda: (ref for ref in walk() if ref.part != "m1"))
    assert await defects(one) == []


async def test_an_open_part_of_a_finished_call_is_a_defect(one: Stage, tmp_path: Path) -> None:
    call, leaf = await stored(one, "c1")
    part = one.node.customers["acme"].vault.parts(call, leaf)[1]
    part.path.rename(tmp_path / "data/customers/acme/vault/open" / part.path.name)
    assert await defects(one) == [("m1", "open but nobody writes it")]


async def test_verify_finds_a_damaged_row_or_a_missing_part(one: Stage, tmp_path: Path) -> None:
    acme = one.node.customers["acme"]
    held, leaf = await stored(one, "c1")
    await acme.holds.put(held, "court", "paula")
    made = await acme.attachments.add(held, "chat", "application/json", b"{}", "paula")
    assert await defects(one) == []
    part = acme.vault.find(held, leaf, made.part)
    assert part
    part.path.rename(tmp_path / "aside")
    assert await defects(one) == [("a1", "attachment without its part")]
    (tmp_path / "aside").rename(part.path)
    with closing(sqlite3.connect(tmp_path / "data/customers/acme/index.sqlite3")) as database, database:
        database.execute("DELETE FROM holds")
    assert await defects(one) == [("papers.journal", "1 rows of holds differ from the database")]
    await acme.holds.put(held, "court", "paula")
    assert await defects(one) == []
    with closing(sqlite3.connect(tmp_path / "data/customers/acme/index.sqlite3")) as database, database:
        database.execute("UPDATE calls SET sealed = zeroblob(64)")
    database.close()
    assert await defects(one) == [("", verify.UNREADABLE)]
    acme.vault.remove(held, leaf)
    assert ("", "1 rows of the index that do not open") in await defects(one)


def test_an_unavailable_database_is_no_defect() -> None:
    assert refused("acme", SealBroken("the journal is another customer's")).defects[0]["customer"] == "acme"
    for away in (DatabaseAway("away"), KeysMissing("no keys"), NoSpace("full")):
        with pytest.raises(type(away)):
            refused("acme", away)


async def test_a_cut_audit_log_and_a_damaged_journal_are_found(one: Stage) -> None:
    acme = one.node.customers["acme"]
    for _ in range(2):
        acme.audit.append(Act("ada", "admin", "call.view")).result()
    log, papers = acme.folder / "audit.jsonl", acme.folder / "papers.journal"
    await acme.rules.put([], by="ada", default_days=90)
    assert await defects(one) == []
    whole, line = log.read_bytes(), papers.read_bytes()
    log.write_bytes(whole.splitlines(keepends=True)[0])
    ((where, what),) = await defects(one)
    assert where == "audit.jsonl" and what.startswith("entry 2 is missing")
    log.write_bytes(whole)
    papers.write_bytes(line.replace(b'"items":[[0', b'"items":[[1'))
    assert await defects(one) == [("papers.journal", "a line that does not open")]
