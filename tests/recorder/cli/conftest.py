"""A configuration with a customer, and its commands with what they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.in_process.command_line import Answer, Place, Printed


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def answer(place: Place, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Run a command with --json, check its exit status and return its document."""

    def run(*words: str, status: int = 0) -> Any:
        capsys.readouterr()
        assert place.run(*words, "--json") == status
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def printed(place: Place, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Run a command, check its exit status and return its standard output and standard error."""

    def run(*words: str, status: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert place.run(*words) == status
        out, err = capsys.readouterr()
        return out, err

    return run
