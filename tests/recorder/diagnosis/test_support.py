"""The journal as `recorder support` reads it: lines of ours are masked, those of systemd scrubbed, others counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.diagnosis import support
from recorder.diagnosis.support import Missing

ENTRIES = (
    {"MESSAGE": '<6>{"event": "recorder.ready", "calls": 2, "name": "Anna Canary"}', "_PID": "77"},
    {"MESSAGE": "recorder.service: Main process exited, code=killed, status=9/KILL", "_PID": "1"},
    {"MESSAGE": "Anna Canary", "_PID": "77"},
    {"MESSAGE": [65, 110, 110, 97], "_PID": "77"},
    {"MESSAGE": None},
    {"_PID": "77"},
)


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have a program of that name that runs a line of shell."""

    def write(line: str) -> None:
        program = tmp_path / "journalctl"
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return write


def test_lines_of_the_journal(tmp_path: Path, journalctl: Callable[[str], None]) -> None:
    (tmp_path / "said").write_text("".join(json.dumps(each) + "\n" for each in ENTRIES) + "no JSON\n")
    journalctl(f'[ "$2" = recorder ] && cat {tmp_path}/said')
    found = list(support._journal())
    assert found[0] == {"event": "recorder.ready", "calls": 2, "masked_fields": 1}
    assert found[1]["event"] == "manager.said" and "status=9/KILL" in found[1]["text"]
    assert [each["event"] for each in found[2:]] == ["another.line"] * 5
    assert "Anna" not in str(found)


@pytest.mark.parametrize("line", ["exit 1", "exit 0", "echo; exit 0"])
def test_a_journal_that_may_not_be_read_is_said(journalctl: Callable[[str], None], line: str) -> None:
    journalctl(line)
    with pytest.raises(Missing, match="run it as root"):
        support._journal()


def test_no_journal_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="--log"):
        support._journal()
