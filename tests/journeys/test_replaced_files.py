"""Files are replaced under a running daemon, and a media worker dies before the restart: the calls go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.daemon.coded_calls import place, wishes
from tests.daemon.descriptor_store import descriptor_store
from tests.daemon.other_version import change_messages, same_files
from tests.journeys.test_kill import HOLD, LENGTH, RESTART, SECONDS, in_order, kill, nothing_lost, watched, worker_of

CALLS = 4


def test_a_worker_of_new_files_ends_its_old_main_without_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, node = tmp_path / "files", tmp_path / "node"
    files.mkdir()
    node.mkdir()
    monkeypatch.chdir(same_files(files))
    with descriptor_store(node) as store, watched(node, CALLS, store) as it:

        async def meanwhile() -> None:
            assert it.one.process
            await it.talking(CALLS)
            change_messages(files)
            kill(worker_of(it))
            assert await asyncio.to_thread(it.one.process.wait, SECONDS) == 3
            await asyncio.sleep(RESTART)
            await asyncio.to_thread(it.one.start)

        nothing_lost(it, place(wishes(it.one, CALLS, LENGTH, HOLD), meanwhile))
        events = it.one.events()
        seen = [events.count(each) for each in ("media.worker_died", "media.other_version", "recorder.ready")]
        assert seen == [1, 1, 2]
        assert "media.call_fault" not in events
        in_order(it)
