"""Checks are run apart: one that hangs, fails or says too much keeps no other from being told."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from recorder.diagnosis.check import Check, State, Step, ok, run_apart, warn
from tests.daemon.api import until

HANGS = 60


def hangs() -> Iterator[Check]:
    time.sleep(HANGS)
    yield ok("never", "")


def fails() -> Iterator[Check]:
    yield ok("first", "")
    raise KeyError("+4930123456789")


def dies() -> Iterator[Check]:
    yield ok("never", "")
    os._exit(3)


def says_much() -> Iterator[Check]:
    yield from (ok(f"n{number}", "x" * 1000) for number in range(2000))


def test_every_step_is_told_in_order_and_all_at_once() -> None:
    began = time.monotonic()
    made = [
        Step("a", lambda: [warn("a", "what", "type this")], 30, ""),
        Step("hang", hangs, 1, "kill it"),
        Step("hang too", hangs, 1, "kill it"),
        Step("b", fails, 30, ""),
        Step("c", dies, 30, "look there"),
        Step("d", says_much, 30, ""),
    ]
    found = run_apart(made)
    assert time.monotonic() - began < HANGS
    assert found[0] == Check("a", State.WARN, "what", "type this")
    assert found[1] == Check("hang", State.FAIL, "no answer within 1 s", "kill it")
    assert [each.name for each in found[2:5]] == ["hang too", "b", "c"]
    assert "KeyError at" in found[3].detail and "4930123456789" not in found[3].detail
    assert found[4].state is State.FAIL and found[4].remedy == "look there"
    assert len(found) == 5 + 2000


def test_what_a_step_has_started_ends_with_it(tmp_path: Path) -> None:
    def starts() -> Iterator[Check]:
        (tmp_path / "pid").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
        yield from hangs()

    run_apart([Step("x", starts, 5, "")])
    pid = (tmp_path / "pid").read_text()

    def gone() -> bool:
        try:
            return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return True

    assert until(gone)
