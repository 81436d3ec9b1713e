"""admin: accounts made, let in again, listed, changed and removed from the shell, and all of it told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from recorder.maintenance.cli_audit import actor
from recorder.persist.customers import open_accounts
from tests.in_process.command_line import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def make(place: Place, capsys: pytest.CaptureFixture[str], name: str = "anna", *more: str) -> dict[str, Any]:
    assert place.run("admin", "create", name, "--role", "admin", "--json", *more) == 0
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    return made


def accounts(place: Place, customer: str = "acme") -> Any:
    return open_accounts(place.settings(), customer)


def key_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["key"][0]


def test_a_new_account_gets_a_link_that_is_shown_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(place, capsys)
    link = urlsplit(made["link"])
    assert (link.scheme, link.netloc, link.path) == ("http", "localhost:8443", "/invitation")
    assert parse_qs(link.query)["customer"] == ["acme"]
    found = accounts(place).invited(key_of(made["link"]), datetime.now(UTC))
    assert (found.id, found.name, found.roles) == (made["id"], "anna", ("admin",))
    assert (made["state"], made["second_factor"], made["signed_in_at"]) == ("invited", "none", None)
    for file in (place.data / "customers" / "acme").iterdir():
        if file.is_file():
            assert key_of(made["link"]).encode() not in file.read_bytes()


def test_for_a_person_the_link_stands_alone_on_standard_output(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("admin", "create", "anna", "--role", "admin", "--role", "privacy") == 0
    said = capsys.readouterr()
    assert said.out.startswith("http://localhost:8443/invitation?")
    assert said.out.count("\n") == 1
    assert "Shown once" in said.err


def test_every_act_stands_in_the_audit_log_by_the_accounts_id(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    id = make(place, capsys, "Mira Ößling")["id"]
    for words in (
        ["reset", "mira ößling"],
        ["reset", "Mira Ößling", "--factors"],
        ["roles", "Mira Ößling", "--role", "listener", "--role", "approver"],
        ["disable", "Mira Ößling"],
        ["enable", "Mira Ößling"],
        ["remove", "Mira Ößling"],
    ):
        assert place.run("admin", *words) == 0
    shown = [(a["actor"], a["action"], a["object"], a["reason"]) for a in place.acts()]
    assert shown == [
        (actor().name, "account.create", id, "admin"),
        (actor().name, "account.reset", id, ""),
        (actor().name, "account.reset", id, "with second factors"),
        (actor().name, "account.roles", id, "listener, approver"),
        (actor().name, "account.disable", id, ""),
        (actor().name, "account.enable", id, ""),
        (actor().name, "account.remove", id, ""),
    ]
    assert "Mira" not in str(place.acts())


def test_account_commands_change_the_account(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(place, capsys)
    kept = accounts(place)
    kept.change(made["id"], lambda a: replace(a, password="x", totp="JBSWY3DP", recovery=("00",)))
    assert place.run("admin", "reset", "anna", "--json") == 0
    second = json.loads(capsys.readouterr().out)
    assert second["second_factor"] == "app"
    now = datetime.now(UTC)
    assert kept.invited(key_of(made["link"]), now) is None
    assert kept.invited(key_of(second["link"]), now).id == made["id"]
    assert timedelta(minutes=59) < datetime.fromisoformat(second["link_expires_at"]) - now <= timedelta(hours=1)
    assert place.run("admin", "reset", "anna", "--factors") == 0
    assert not kept.get(made["id"]).second_factor
    assert place.run("admin", "roles", "anna", "--role", "listener") == 0
    assert kept.get(made["id"]).roles == ("listener",)
    assert place.run("admin", "disable", "anna") == 0
    assert kept.get(made["id"]).disabled
    assert kept.get(made["id"]).invitation is None
    assert place.run("admin", "reset", "anna") == 1
    assert place.run("admin", "enable", "anna") == 0
    assert not kept.get(made["id"]).disabled
    assert place.run("admin", "remove", "anna") == 0
    assert kept.all() == ()


def test_each_change_as_one_document(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    id = make(place, capsys)["id"]

    def told(*words: str) -> tuple[Any, ...]:
        assert place.run("admin", *words, "--json") == 0
        said = json.loads(capsys.readouterr().out)
        return said["id"], said["customer"], said.get("roles"), said["state"]

    assert told("roles", "anna", "--role", "listener") == (id, "acme", ["listener"], "invited")
    assert told("disable", "anna") == (id, "acme", ["listener"], "disabled")
    assert told("enable", "anna") == (id, "acme", ["listener"], "invited")
    assert told("remove", "anna") == (id, "acme", None, "removed")


def test_the_list_shows_no_secret(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(place, capsys)
    accounts(place).change(made["id"], lambda a: replace(a, password="$argon2id$planted", totp="PLANTED2"))
    assert place.run("admin", "list") == 0
    table = capsys.readouterr().out
    assert place.run("admin", "list", "--json") == 0
    document = capsys.readouterr().out
    assert "anna" in table
    assert json.loads(document)["items"][0]["second_factor"] == "app"
    assert "PLANTED2" not in table + document
    assert "argon2id" not in table + document


@pytest.mark.parametrize("verb", ["reset", "disable", "enable", "remove"])
def test_an_account_that_is_not_there(place: Place, verb: str) -> None:
    assert place.run("admin", verb, "nobody") == 1
    assert place.acts() == []


def test_wrong_account_arguments_exit_with_2(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    make(place, capsys)
    assert place.run("admin", "create", "anna", "--role", "admin") == 2  # there is one
    assert place.run("admin", "create", "ben", "--role", "king") == 2
    assert place.run("admin", "roles", "anna", "--role", "king") == 2
    assert place.run("admin", "create", "ben", "--role", "admin", "--customer", "none") == 2
    assert [a.name for a in accounts(place).all()] == ["anna"]


def test_of_several_customers_one_must_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path, ("acme", "beta"))
    assert place.run("admin", "create", "anna", "--role", "admin") == 2
    for customer in place.customers:
        make(place, capsys, "anna", "--customer", customer)
    assert place.run("admin", "remove", "anna") == 2
    assert place.run("admin", "remove", "anna", "--customer", "beta") == 0
    assert [len(accounts(place, name).all()) for name in place.customers] == [1, 0]


def test_an_account_that_cannot_be_audited_is_not_created(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.audit.hash_chain import AuditError

    def broken(*_: object, **__: object) -> None:
        raise AuditError("the audit log cannot be written")

    monkeypatch.setattr("recorder.cli.accounts.note", broken)
    assert place.run("admin", "create", "anna", "--role", "admin") == 3
    assert "invitation" not in capsys.readouterr().out
    assert accounts(place).all() == ()
