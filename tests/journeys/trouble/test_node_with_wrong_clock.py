"""A node starts with a clock that is days behind, beside one that is right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.api import Api, until
from tests.daemon.fault_injection import Trouble, troublemaker
from tests.daemon.nodes import UPLOADED
from tests.journeys.trouble.node_scene import DAY, Scene, answers, name, opens, scene, told

__all__ = ["troublemaker"]


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_a_node_that_starts_days_behind_opens_nothing_erased(tmp_path: Path, troublemaker: Path) -> None:
    with scene(tmp_path, 2, 0, troublemaker) as it:
        it.round(Scene.killed)
        it.round(Scene.killed)
        right, node = it.apis
        clock = it.clocks[name(node)]
        node.one.stop(signal.SIGKILL)
        (node.one.folder / "run" / "clock").unlink()
        clock.set(ahead=-3 * DAY)
        gone = it.erase(right)
        assert gone
        node.one.start()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert not opens(node, gone)
            time.sleep(0.05)
        until(lambda: answers(node))

        assert it.erase(node, surely=True)
        it.round(calls)
        for id in it.erased.values():
            assert id
            until(lambda id=id: told(right, id).get("state") == "done", UPLOADED)  # type: ignore[misc]
        until(lambda: "retention.clock" in node.one.events())
        assert "retention.clock" not in right.one.events()
        found = doctor(node, clock)["database.clock"]
        assert found["state"] == "fail" and "nothing is erased by retention" in found["detail"], found
        days = it.database.ask("recorder_acme", "select distinct day from calls").split()
        assert {abs(int(day) - time.time() // DAY) <= 1 for day in days} == {True}, days
        clock.set(ahead=0)
        it.judge()


def calls(it: Scene) -> None:
    """Let nothing happen while calls are recorded."""


def doctor(api: Api, clock: Trouble) -> dict[str, Any]:
    """Run the doctor of a node by the clock of its machine; return its checks by name."""
    words = [sys.executable, "-m", "recorder", "doctor", "--json", "--config", str(api.one.config)]
    ran = subprocess.run(words, env={**os.environ, **clock.environment}, capture_output=True, text=True)
    return {each["name"]: each for each in json.loads(ran.stdout)["checks"]}
