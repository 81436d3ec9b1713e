"""A decrypted copy: whole, private, never over another file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder.cli.export import export_call
from recorder.errors import NotPossible, WrongUse
from recorder.exports.render_job import INCOMPLETE
from tests.in_process.recorder_node import stage


def refused(source: Path, to: Path) -> None:
    raise OSError(1, "not permitted")


def test_a_copy_is_whole_private_and_over_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    async def story() -> None:
        async with stage(tmp_path) as one:
            acme, call = one.customers["acme"], one.invite()
            one.bye()
            await one.until(lambda: not len(one.live))
            await one.indexer.drain(30)
            report = await export_call(acme, call.id, "wav", folder / "call.wav")
            assert report and report["bytes"] == (folder / "call.wav").stat().st_size and report["caveat"] is None
            assert (folder / "call.wav").stat().st_mode & 0o777 == 0o600
            assert await export_call(acme, "unknown", "wav", folder / "x") is None
            with pytest.raises(NotPossible, match=f"no folder {tmp_path}/none"):
                await export_call(acme, call.id, "wav", tmp_path / "none" / "call.wav")

            (folder / "mine.wav").write_text("mine")
            with pytest.raises(WrongUse, match="exists"):
                await export_call(acme, call.id, "wav", folder / "mine.wav")
            monkeypatch.setattr("recorder.cli.export.os.link", refused)  # a file system without hard links
            with pytest.raises(WrongUse, match="exists"):
                await export_call(acme, call.id, "wav", folder / "mine.wav")
            assert (folder / "mine.wav").read_text() == "mine"

            acme.vault.parts(call.id, call.leaf)[0].path.unlink()
            report = await export_call(acme, call.id, "wav", folder / "lost.wav")
            assert report and report["caveat"] == INCOMPLETE
            assert {path.name for path in folder.iterdir()} == {"call.wav", "mine.wav", "lost.wav"}

    asyncio.run(story())
