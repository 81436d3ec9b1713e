"""calls, export, verify, recover on a place without calls, and how times are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recorder import cli
from recorder.cli_calls import moment
from recorder.errors import WrongUse
from recorder.locking import node_lock
from recorder.settings_files import load

NOBODY = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "recorder.toml")
    assert cli.run(["init", "--config", path]) == 0
    capsys.readouterr()
    return path


def test_nothing_is_an_answer_too(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["calls"], ["verify"], ["recover"]):
        assert cli.run([*words, "--config", config]) == 0
        assert capsys.readouterr().out
        assert cli.run([*words, "--json", "--config", config]) == 0
        json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("words", [["verify", NOBODY], ["export", NOBODY, "-o", "/tmp/never.wav"]])
def test_an_unknown_call_is_no(config: str, words: list[str]) -> None:
    assert cli.run([*words, "--config", config]) == 1


def test_recover_leaves_a_running_daemon_alone(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    with node_lock(load(Path(config))) as held:
        assert held
        assert cli.run(["recover", "--config", config]) == 3
    assert "daemon is running" in capsys.readouterr().err


def test_times_in_every_spelling() -> None:
    assert moment(None) is None
    assert moment("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert moment("2026-03-01T12:00:00Z") == datetime(2026, 3, 1, 12, tzinfo=UTC)
    ago = moment("2h")
    assert ago
    assert abs(datetime.now(UTC) - timedelta(hours=2) - ago) < timedelta(seconds=5)
    for wrong in ("yesterday", "", "99999999999999d"):
        with pytest.raises(WrongUse):
            moment(wrong)
