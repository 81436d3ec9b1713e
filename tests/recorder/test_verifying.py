"""Every defect is named; a running daemon is none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder import indexer, verifying
from recorder.verifying import verify_customer
from tests.recorder.stage import Stage, stage


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(indexer, "SETTLE_SECONDS", 0.0)


async def defects(one: Stage, *wanted: str) -> list[tuple[str, str]]:
    report = await verify_customer(one.node.customers["acme"], wanted, lambda n: None)
    return sorted((d["part"], d["kind"]) for d in report.defects)


async def stored(one: Stage, name: str) -> tuple[str, int]:
    call = one.invite(name)
    one.bye(name)
    await one.until(lambda: call not in list(one.live))
    await one.node.indexer.drain(5)
    return call.id, call.leaf


def test_finished_and_living_calls_are_in_order_also_one_that_just_began(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            await stored(one, "c1")
            one.invite("c2")
            assert await defects(one) == []

    asyncio.run(story())


def test_an_altered_byte_a_lost_file_and_a_lost_row_are_found(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
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

    asyncio.run(story())


def test_an_open_part_of_a_finished_call_is_a_defect(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, leaf = await stored(one, "c1")
            part = one.node.customers["acme"].vault.parts(call, leaf)[1]
            part.path.rename(tmp_path / "data/customers/acme/vault/open" / part.path.name)
            assert await defects(one) == [("m1", "open but nobody writes it")]

    asyncio.run(story())
