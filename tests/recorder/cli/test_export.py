"""A decrypted copy: whole, private, never over another file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder.cli import export
from recorder.cli.export import export_call
from recorder.errors import WrongUse
from recorder.exports.render_job import INCOMPLETE
from tests.in_process.recorder_node import Stage, stage


async def stored(one: Stage) -> str:
    call = one.invite()
    one.bye()
    await one.until(lambda: not len(one.live))
    await one.node.indexer.drain(30)
    return call.id


def test_the_file_is_for_its_owner_and_nothing_else_is_left(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, to = await stored(one), tmp_path / "out" / "call.wav"
            to.parent.mkdir()
            report = await export_call(one.node.customers["acme"], call, "wav", to)
            assert report
            assert report["bytes"] == to.stat().st_size and report["caveat"] is None
            assert to.stat().st_mode & 0o777 == 0o600
            assert list(to.parent.iterdir()) == [to]
            assert await export_call(one.node.customers["acme"], "unknown", "wav", tmp_path / "x") is None

    asyncio.run(story())


def test_an_export_of_a_partly_lost_call_says_incomplete(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = await stored(one)
            acme = one.node.customers["acme"]
            row = await acme.calls.get(call)
            assert row
            acme.vault.parts(call, row.leaf)[0].path.unlink()
            report = await export_call(acme, call, "wav", tmp_path / "call.wav")
            assert report and report["caveat"] == INCOMPLETE

    asyncio.run(story())


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, to = await stored(one), tmp_path / "out" / "call.wav"
            to.parent.mkdir()
            to.write_text("mine")
            with pytest.raises(WrongUse, match="exists"):
                await export_call(one.node.customers["acme"], call, "wav", to)
            assert to.read_text() == "mine"
            assert list(to.parent.iterdir()) == [to]

    asyncio.run(story())


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, to: Path) -> None:
        raise OSError(1, "not permitted")

    monkeypatch.setattr(export.os, "link", no_links)
    partial, to = tmp_path / "a", tmp_path / "b"
    partial.write_text("x")
    export._name(partial, to)
    assert to.read_text() == "x"
    partial.write_text("y")
    with pytest.raises(WrongUse):
        export._name(partial, to)
