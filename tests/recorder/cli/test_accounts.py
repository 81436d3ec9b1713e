"""admin: accounts are created, invited again, listed, changed and removed from the shell, all of it audited."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from recorder.maintenance.cli_audit import actor
from recorder.persist.customers import open_accounts
from storage.audit.hash_chain import AuditError
from tests.in_process.command_line import Answer, Place, Printed

CREATE = ("admin", "create", "anna", "--role", "admin")


def accounts(place: Place, customer: str = "acme") -> Any:
    return open_accounts(place.settings(), customer)


def key_of(made: dict[str, Any]) -> str:
    return parse_qs(urlsplit(made["link"]).query)["key"][0]


def test_a_new_account_gets_a_link_that_is_shown_once(place: Place, answer: Answer) -> None:
    made = answer(*CREATE)
    link = urlsplit(made["link"])
    assert (link.scheme, link.netloc, link.path) == ("http", "localhost:8443", "/invitation")
    assert parse_qs(link.query)["customer"] == ["acme"]
    found = accounts(place).invited(key_of(made), datetime.now(UTC))
    assert (found.id, found.name, found.roles) == (made["id"], "anna", ("admin",))
    assert (made["state"], made["second_factor"], made["signed_in_at"]) == ("invited", "none", None)
    files = [file for file in (place.data / "customers" / "acme").iterdir() if file.is_file()]
    assert not [file for file in files if key_of(made).encode() in file.read_bytes()]


def test_the_link_stands_alone_on_standard_output(printed: Printed) -> None:
    out, err = printed(*CREATE, "--role", "privacy")
    assert out.startswith("http://localhost:8443/invitation?") and out.count("\n") == 1
    assert "Shown once" in err


def test_every_act_stands_in_the_audit_log_by_the_accounts_id(place: Place, answer: Answer) -> None:
    id = answer("admin", "create", "Mira Ößling", "--role", "admin")["id"]
    for verb, name, *more in (
        ("reset", "mira ößling"),
        ("reset", "Mira Ößling", "--factors"),
        ("roles", "Mira Ößling", "--role", "listener", "--role", "approver"),
        ("disable", "Mira Ößling"),
        ("enable", "Mira Ößling"),
        ("remove", "Mira Ößling"),
    ):
        assert place.run("admin", verb, name, *more) == 0
    assert {(act["actor"], act["object"]) for act in place.acts()} == {(actor().name, id)}
    assert [(act["action"], act["reason"]) for act in place.acts()] == [
        ("account.create", "admin"),
        ("account.reset", ""),
        ("account.reset", "with second factors"),
        ("account.roles", "listener, approver"),
        ("account.disable", ""),
        ("account.enable", ""),
        ("account.remove", ""),
    ]
    assert "Mira" not in str(place.acts())


def test_account_commands_change_the_account(place: Place, answer: Answer) -> None:
    made, kept, now = answer(*CREATE), accounts(place), datetime.now(UTC)
    kept.change(made["id"], lambda a: replace(a, password="x", totp="JBSWY3DP", recovery=("00",)))
    second = answer("admin", "reset", "anna")
    assert second["second_factor"] == "app"
    assert kept.invited(key_of(made), now) is None
    assert kept.invited(key_of(second), now).id == made["id"]
    expires = datetime.fromisoformat(second["link_expires_at"])
    assert timedelta(minutes=59) < expires - now <= timedelta(hours=1, minutes=1)
    assert place.run("admin", "reset", "anna", "--factors") == 0
    assert not kept.get(made["id"]).second_factor

    def told(*words: str) -> tuple[Any, ...]:
        said = answer("admin", *words)
        assert (said["id"], said["customer"]) == (made["id"], "acme")
        return said.get("roles"), said["state"]

    assert told("roles", "anna", "--role", "listener") == (["listener"], "active")
    assert kept.get(made["id"]).roles == ("listener",)
    assert told("disable", "anna") == (["listener"], "disabled")
    assert kept.get(made["id"]).disabled and kept.get(made["id"]).invitation is None
    assert place.run("admin", "reset", "anna") == 1
    assert told("enable", "anna")[1] != "disabled"
    assert not kept.get(made["id"]).disabled
    assert told("remove", "anna") == (None, "removed")
    assert kept.all() == ()


def test_the_list_shows_no_secret(place: Place, answer: Answer, printed: Printed) -> None:
    made = answer(*CREATE)
    accounts(place).change(made["id"], lambda a: replace(a, password="$argon2id$planted", totp="PLANTED2"))
    table, document = printed("admin", "list")[0], answer("admin", "list")
    assert "anna" in table and document["items"][0]["second_factor"] == "app"
    assert not [secret for secret in ("PLANTED2", "argon2id") if secret in table + str(document)]


@pytest.mark.parametrize("verb", ["reset", "disable", "enable", "remove"])
def test_an_unknown_account_exits_with_1(place: Place, verb: str) -> None:
    assert place.run("admin", verb, "nobody") == 1
    assert place.acts() == []


@pytest.mark.parametrize(
    "words",
    [
        ("create", "anna", "--role", "admin"),  # there is one
        ("create", "ben", "--role", "king"),
        ("roles", "anna", "--role", "king"),
        ("create", "ben", "--role", "admin", "--customer", "none"),
    ],
)
def test_wrong_account_arguments_exit_with_2(place: Place, words: tuple[str, ...]) -> None:
    assert place.run(*CREATE) == 0
    assert place.run("admin", *words) == 2
    assert [a.name for a in accounts(place).all()] == ["anna"]


def test_with_several_customers_one_must_be_named(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    place = Place(tmp_path / "two", ("acme", "beta"))
    assert place.run(*CREATE) == 2
    for customer in place.customers:
        assert place.run(*CREATE, "--customer", customer) == 0
    assert place.run("admin", "remove", "anna") == 2
    assert place.run("admin", "remove", "anna", "--customer", "beta") == 0
    assert [len(accounts(place, name).all()) for name in place.customers] == [1, 0]


def test_an_account_that_cannot_be_audited_is_not_created(
    place: Place, printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AuditError("the audit log cannot be written")

    monkeypatch.setattr("recorder.cli.accounts.note", broken)
    assert "invitation" not in printed(*CREATE, status=3)[0]
    assert accounts(place).all() == ()
