"""The log of the daemon is JSON from its first line on, also if it ends before it has read its configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.server import Server, server, taken


def _file_for_folder(one: Server) -> None:
    one.data.rename(one.folder / "old")
    one.data.touch()


SPOILT = [
    ("no file", lambda one: one.config.unlink(), 2, "recorder.failed"),
    ("no TOML", lambda one: one.config.write_text("name = Anna Canary\n["), 2, "config.fault"),
    ("an unknown key", lambda one: one.replace("workers = 1", "wokers = 1"), 2, "config.fault"),
    ("another root secret", lambda one: (one.folder / "root.key").write_bytes(bytes(32)), 3, "recorder.failed"),
    ("a data folder that is a file", _file_for_folder, 2, "config.fault"),
]


def journal(one: Server, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Serve with both outputs in one file, as under systemd; return the status and the lines, each of which is JSON."""
    with one.log.open("wb") as log:
        line = [sys.executable, "-m", "recorder", "serve", "--config", str(one.config), *words]
        where = os.fstat(log.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": f"{where.st_dev}:{where.st_ino}"}
        done = subprocess.run(line, stdout=log, stderr=log, timeout=60, env=environment, check=False)
    text = one.log.read_text()
    assert "Anna" not in text
    lines = text.splitlines()
    assert lines and all(line.startswith("<2>{") for line in lines if "critical" in line), text
    return done.returncode, [json.loads(line[line.index("{") :]) for line in lines]


@pytest.mark.parametrize(("spoil", "status", "first"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT])
def test_each_line_is_json(tmp_path: Path, spoil: Callable[[Server], object], status: int, first: str) -> None:
    with server(tmp_path) as one:
        one.init()
        spoil(one)
        found, lines = journal(one)
    assert found == status
    assert first in [line["event"] for line in lines]
    assert lines[-1]["event"] == "recorder.failed"
    assert lines[-1]["exit_status"] == status and lines[-1]["hint"]
    assert all({"time", "level", "process"} <= set(line) for line in lines)


def test_every_fault_has_its_line_with_its_place(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        one.replace('srtp = "preferred"', 'srtp = "sometimes"\nwokers = 1')
        _, lines = journal(one)
    faults = {line["setting"]: line for line in lines if line["event"] == "config.fault"}
    assert set(faults) == {"media.srtp", "media.wokers"}
    assert all(fault["line"] > 1 and fault["right"] for fault in faults.values())


def test_a_port_in_use_and_a_wrong_argument(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        with taken(one, "tcp") as port:
            status, lines = journal(one)
        assert status == 3 and "another recorder" in lines[-1]["hint"], lines
        assert str(port) in lines[-1]["error"] + lines[-1]["hint"]
        status, lines = journal(one, "--nonsense")
        assert status == 2 and lines[-1]["event"] == "recorder.failed"
