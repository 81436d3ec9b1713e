"""init, check-config, token: what they print and what they refuse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recorder.cli import main, setup
from recorder.maintenance.cli_audit import actor
from recorder.persist.customers import open_credentials
from tests.in_process.command_line import Answer, Place, Printed

CREATE = ("token", "create", "--customer", "acme", "--role", "listener", "--name")


def test_the_first_token_is_audited_and_can_be_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(tmp_path / "recorder.toml")
    assert main.run(["init", "--config", config]) == 0
    assert "shown once" in capsys.readouterr().out
    assert main.run(["token", "revoke", "first-admin", "--json", "--config", config]) == 0
    assert main.run(["audit", "verify", "--json", "--config", config]) == 0
    revoked, verified = capsys.readouterr().out.split("}\n", 1)
    assert '"customers": [' in revoked and '"first-admin"' in revoked and '"entries": 2' in verified


def test_a_token_is_shown_once_audited_and_can_be_revoked(place: Place, answer: Answer, printed: Printed) -> None:
    made, other = answer(*CREATE, "Mira Ößling", "--days", "3"), answer(*CREATE, "other")
    assert set(made) == {"token", "id", "customer", "roles", "name", "expires_at"}
    listed, _ = printed("token", "list")
    assert "Mira Ößling" in listed and made["token"] not in listed
    assert answer("token", "revoke", "Mira Ößling") == {"revoked": "Mira Ößling", "customers": ["acme"]}
    assert place.run("token", "revoke", "Mira Ößling") == 1
    assert "Revoked for acme." in printed("token", "revoke", other["id"])[0]
    shown = [(a["actor"], a["role"], a["action"], a["object"], a["reason"]) for a in place.acts()]
    assert shown == [
        (actor().name, "operator", f"token.{verb}", id, reason)
        for verb, reason in (("create", "listener"), ("revoke", ""))
        for id in (made["id"], other["id"])
    ]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65])
def test_an_invalid_token_name_exits_with_2(printed: Printed, name: str) -> None:
    assert "64 printable characters" in printed(*CREATE, name, status=2)[1]


def test_a_token_that_cannot_be_audited_is_not_issued(place: Place, answer: Answer, printed: Printed) -> None:
    (place.folder / "root.key").write_bytes(bytes(32))
    assert "rec_" not in printed(*CREATE, "anna", status=3)[0]
    assert answer("token", "list") == {"items": []}


def test_a_token_takes_nobodys_name_and_says_whose_it_is(place: Place, answer: Answer) -> None:
    account = answer("admin", "create", "anna", "--role", "privacy")
    for name in ("recorder", "cli:root", "Anna", "аппа"):
        assert place.run(*CREATE, name) == 2
    assert place.run(*CREATE, "reports", "--account", "ben") == 2
    made = answer(*CREATE, "reports", "--account", "ANNA")
    (found,) = [each for each in open_credentials(place.settings(), "acme").list() if each.id == made["id"]]
    assert found.account == account["id"]
    assert place.run("admin", "create", "Reports", "--role", "privacy") == 2
    act = place.acts()[-1]
    assert (act["actor_kind"], act["actor_id"]) == ("shell", str(os.getuid()))


@pytest.mark.parametrize("on", [True, False])
def test_check_config_warns_of_swap_and_lists_faults(
    place: Place, answer: Answer, printed: Printed, monkeypatch: pytest.MonkeyPatch, on: bool
) -> None:
    monkeypatch.setattr(setup, "swapping", lambda: on)
    assert ("Swap is on" in printed("check-config")[0]) == on
    told = answer("check-config")
    assert (told["ok"], told["faults"], bool(told["warnings"])) == (True, [], on)
    place.config.write_text(place.config.read_text().replace("[sip]", "[sip]\nmax_calls = 0"))
    assert [fault["key"] for fault in answer("check-config", status=2)["faults"]] == ["sip.max_calls"]
    assert "sip.max_calls" in printed("check-config", status=2)[1]
