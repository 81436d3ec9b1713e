"""One version up and down again under live calls, and what the older one says before anything stops."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from recorder.runtime.version import VERSION
from tests.daemon.api import running
from tests.daemon.coded_calls import in_order, nothing_lost, place, wishes
from tests.daemon.kills import RESTART
from tests.daemon.other_version import change_formats, change_messages, change_version, same_files
from tests.daemon.sbc import OFFER

CALLS, LENGTH, HOLD = 20, 18.0, 0.8  # seconds: a busy machine may need all of it for two restarts
NEWER = "99.0.0"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    (tmp_path / "older").mkdir()
    return same_files(tmp_path / "older")


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    (tmp_path / "newer").mkdir()
    change_version(same_files(tmp_path / "newer"), NEWER)
    return tmp_path / "newer"


@pytest.mark.torture
def test_torture_a_step_up_and_down_again_loses_nothing(
    tmp_path: Path, older: Path, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_messages(newer)
    monkeypatch.chdir(older)
    with running(tmp_path / "node", calls=CALLS, kept=True) as it:

        async def step(files: Path) -> None:
            monkeypatch.chdir(files)
            checked = await asyncio.to_thread(it.one.run, "check-config", "--start")
            assert checked.returncode == 0, checked.stderr
            assert await asyncio.to_thread(it.one.stop) == 0
            await asyncio.sleep(RESTART)
            await asyncio.to_thread(it.one.start)

        async def meanwhile() -> None:
            for files in (newer, older):
                await it.talking(CALLS)
                await step(files)

        nothing_lost(it, place(wishes(it.one, CALLS, LENGTH, HOLD), meanwhile))
        ready = [line["version"] for line in it.one.lines() if line.get("event") == "recorder.ready"]
        assert ready == [VERSION, NEWER, VERSION]
        in_order(it)


def test_an_older_version_names_newer_data_while_calls_go_on(
    tmp_path: Path, older: Path, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_formats(newer)
    monkeypatch.chdir(newer)
    with running(tmp_path / "node") as it, it.one.sbc("tcp") as sbc:
        assert sbc.ask("INVITE", OFFER).status == 200
        assert it.one.run("check-config", "--start").returncode == 0
        monkeypatch.chdir(older)
        done = it.one.run("check-config", "--start", "--json")
        assert done.returncode == 3
        faults = json.loads(done.stdout)["faults"]
        assert {each["key"]: each["found"].partition(":")[0] for each in faults} == {
            "node.data_dir": "data of a newer version", "node.runtime_dir": "live calls of a newer version",
        }  # fmt: skip
        assert all(f"(version {NEWER})" in each["found"] for each in faults)
        assert sbc.ask("BYE").status == 200
