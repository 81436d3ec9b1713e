"""init, check-config, token: what they print and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recorder import cli


@pytest.fixture
def config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "recorder.toml")
    assert cli.run(["init", "--config", path]) == 0
    assert "shown once" in capsys.readouterr().out
    return path


def test_a_token_is_shown_once_listed_without_its_secret_and_revoked(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ["token", "create", "--customer", "acme", "--role", "listener", "--name", "anna", "--days", "3", "--json"]
    assert cli.run([*create, "--config", config]) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made) == {"token", "id", "customer", "roles", "name", "expires_at"}
    assert cli.run(["token", "list", "--config", config]) == 0
    listed = capsys.readouterr().out
    assert "anna" in listed
    assert made["token"] not in listed
    assert cli.run(["token", "revoke", "anna", "--config", config]) == 0
    assert cli.run(["token", "revoke", "anna", "--config", config]) == 1


def test_faults_of_a_configuration_as_one_document(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check-config", "--config", config]) == 0
    Path(config).write_text(Path(config).read_text().replace("max_calls = 2000", "max_calls = 0"))
    capsys.readouterr()
    assert cli.run(["check-config", "--config", config, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [fault["key"] for fault in told["faults"]] == ["sip.max_calls"]
