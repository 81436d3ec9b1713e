"""init, check-config, token: what they print and what they refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from recorder.cli import main, setup
from recorder.maintenance.cli_audit import actor
from recorder.persist.customers import open_credentials
from tests.in_process.command_line import Place


@pytest.fixture
def config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "recorder.toml")
    assert main.run(["init", "--config", path]) == 0
    assert "shown once" in capsys.readouterr().out
    return path


def test_a_token_is_shown_once_and_can_be_revoked(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    create = ["token", "create", "--customer", "acme", "--role", "listener", "--name", "anna", "--days", "3", "--json"]
    assert main.run([*create, "--config", config]) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made) == {"token", "id", "customer", "roles", "name", "expires_at"}
    assert main.run(["token", "list", "--config", config]) == 0
    listed = capsys.readouterr().out
    assert "anna" in listed
    assert made["token"] not in listed
    assert main.run(["token", "revoke", "anna", "--config", config]) == 0
    assert main.run(["token", "revoke", "anna", "--config", config]) == 1


def test_a_revoked_token_as_one_document(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["token", "revoke", "first-admin", "--json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out) == {"revoked": "first-admin", "customers": ["acme"]}


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65])
def test_an_invalid_token_name_exits_with_2(config: str, capsys: pytest.CaptureFixture[str], name: str) -> None:
    create = ["token", "create", "--customer", "acme", "--role", "listener", "--name", name, "--config", config]
    assert main.run(create) == 2
    assert "64 printable characters" in capsys.readouterr().err


def test_faults_of_a_configuration_as_one_document(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["check-config", "--config", config]) == 0
    Path(config).write_text(Path(config).read_text().replace("max_calls = 2000", "max_calls = 0"))
    capsys.readouterr()
    assert main.run(["check-config", "--config", config, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [fault["key"] for fault in told["faults"]] == ["sip.max_calls"]


def test_tokens_made_and_revoked_stand_in_the_audit_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    create = ["token", "create", "--customer", "acme", "--role", "listener", "--name", "Mira Ößling", "--json"]
    assert place.run(*create) == 0
    made = json.loads(capsys.readouterr().out)
    assert place.run("token", "revoke", "Mira Ößling") == 0
    assert place.run("token", "revoke", "Mira Ößling") == 1
    shown = [(a["actor"], a["role"], a["action"], a["object"], a["reason"]) for a in place.acts()]
    assert shown == [
        (actor().name, "operator", "token.create", made["id"], "listener"),
        (actor().name, "operator", "token.revoke", made["id"], ""),
    ]


def test_a_token_that_cannot_be_audited_is_not_issued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    (tmp_path / "root.key").write_bytes(bytes(32))
    assert place.run("token", "create", "--customer", "acme", "--role", "admin", "--name", "anna") == 3
    assert "rec_" not in capsys.readouterr().out
    assert place.run("token", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"items": []}


def test_the_first_token_stands_in_the_audit_log(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["audit", "verify", "--json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out)["customers"][0]["entries"] == 1


def test_check_config_warns_of_swap(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for on in (True, False):
        monkeypatch.setattr(setup, "swapping", lambda on=on: on)
        assert main.run(["check-config", "--config", config]) == 0
        assert ("Swap is on" in capsys.readouterr().out) == on
        assert main.run(["check-config", "--config", config, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["ok"], told["faults"], bool(told["warnings"])) == (True, [], on)


def test_a_token_takes_nobodys_name_and_says_whose_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    create = ["token", "create", "--customer", "acme", "--role", "approver", "--json", "--name"]
    assert place.run("admin", "create", "anna", "--role", "privacy", "--json") == 0
    account = json.loads(capsys.readouterr().out)
    for name in ("recorder", "cli:root", "Anna", "аппа"):
        assert place.run(*create, name) == 2
    assert place.run(*create, "reports", "--account", "ben") == 2
    assert place.run(*create, "reports", "--account", "ANNA") == 0
    made = json.loads(capsys.readouterr().out)
    (found,) = [each for each in open_credentials(place.settings(), "acme").list() if each.id == made["id"]]
    assert found.account == account["id"]
    assert place.run("admin", "create", "Reports", "--role", "privacy") == 2
    act = place.acts()[-1]
    assert (act["actor_kind"], act["actor_id"]) == ("shell", str(os.getuid()))
