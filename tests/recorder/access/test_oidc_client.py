"""Asking a provider: only when somebody comes, patiently with its keys, and without being led anywhere else."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from admin_api.access.accounts_port import NotVouched, Person, ProviderAway
from recorder.access import oidc_client
from recorder.access.oidc_client import Providers
from storage.access.actor import alike
from tests.in_process.openid_provider import StandIn, key, provider, sign_in

BACK = "https://rec.example/openid/back"


@pytest.fixture
def house() -> Iterator[StandIn]:
    with provider() as stand_in:
        yield stand_in


class Clock:
    at = 0.0

    def __call__(self) -> float:
        return self.at


def providers(house: StandIn, clock: Any = time.monotonic, **more: Any) -> Providers:
    return Providers([sign_in(house.issuer, **more)], {"acme": acme()}, monotonic=clock)


def acme(account: str = "", token: str = "") -> Any:
    """Give a customer with one account and one token."""
    accounts = SimpleNamespace(like=lambda name: account if account and alike(account, name) else None)
    return SimpleNamespace(
        name="acme",
        accounts=accounts,
        credentials=SimpleNamespace(list=lambda: [SimpleNamespace(name=token)] if token else []),
    )


async def through(them: Providers, house: StandIn, **changes: str) -> Person:
    provider_login = await them.begin("acme", 0, BACK)
    return await them.finish(provider_login, {**house.leave(provider_login.link), **changes})


def go(them: Providers, house: StandIn, **changes: str) -> Person:
    return asyncio.run(through(them, house, **changes))


def test_a_provider_is_not_asked_before_a_sign_in(house: StandIn) -> None:
    them = providers(house)
    assert them.names("acme") == ["House"]
    assert them.names("beta") == []
    assert house.asked == []


def test_there_and_back(house: StandIn) -> None:
    person = go(providers(house), house)
    assert (person.name, person.roles, person.account) == ("anna@acme.example", ("privacy", "listener"), "")
    assert (person.actor.kind, person.actor.id) == ("openid", f"{house.issuer} s-1")
    form = house.forms[-1]
    assert (form["code"], form["redirect_uri"], form["client_id"]) == ("c-1", BACK, "recorder")
    assert len(form["code_verifier"]) >= 43


def test_a_secret_is_read_when_it_is_needed(house: StandIn, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    go(providers(house, client_secret=f"file:{file}"), house)
    assert house.headers[-1]["authorization" if "authorization" in house.headers[-1] else "Authorization"].startswith(
        "Basic "
    )


def test_documents_and_keys_are_kept_for_the_next_one(house: StandIn) -> None:
    clock = Clock()
    them = providers(house, clock)
    for _ in range(3):
        go(them, house)
    assert house.asked.count("/.well-known/openid-configuration") == house.asked.count("/jwks") == 1
    clock.at += 3601
    go(them, house)
    assert house.asked.count("/.well-known/openid-configuration") == 2


def test_a_new_provider_key_is_fetched_but_not_at_will(house: StandIn) -> None:
    clock = Clock()
    them = providers(house, clock)
    go(them, house)
    house.keys = [house.keys[0], key("two")]
    clock.at += 60
    assert go(them, house).name == "anna@acme.example"
    assert house.asked.count("/jwks") == 2
    published, house.keys = house.keys, [key("made-up")]
    house.answers["/jwks"] = (200, json.dumps({"keys": [k.as_dict(private=False) for k in published]}).encode())
    for _ in range(5):
        with pytest.raises(NotVouched):
            go(them, house)
    assert house.asked.count("/jwks") == 2


def test_a_withdrawn_key_is_soon_refused(house: StandIn) -> None:
    clock = Clock()
    them = providers(house, clock)
    go(them, house)
    stolen, successor = house.keys[0], key("two")
    house.answers["/jwks"] = (200, json.dumps({"keys": [successor.as_dict(private=False)]}).encode())
    clock.at += oidc_client.KEYS_KEPT - 1
    assert house.keys == [stolen]
    assert go(them, house).name == "anna@acme.example"
    clock.at += 2
    with pytest.raises(NotVouched, match="key"):
        go(them, house)
    house.answers["/jwks"] = (503, b"")
    clock.at += oidc_client.KEYS_KEPT + 1
    with pytest.raises(ProviderAway):  # what cannot be asked again does not count any longer
        go(them, house)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("recorder", {}),
        ("cli:root", {}),
        ("аnna@acme.example", {}),
        ("Anna@Acme.example", {"account": "anna@acme.example"}),
        ("nightIy", {"token": "nightly"}),
    ],
)
def test_a_name_reserved_for_another_actor_is_refused(house: StandIn, name: str, taken: dict[str, str]) -> None:
    house.claims = {"preferred_username": name}
    them = Providers([sign_in(house.issuer)], {"acme": acme(**taken)})
    with pytest.raises(NotVouched, match="name"):
        go(them, house)


def test_userinfo_supplies_missing_claims_of_the_same_subject(house: StandIn) -> None:
    house.claims = {"groups": None, "preferred_username": None}
    house.info = {"groups": ["chiefs"], "preferred_username": "anna"}
    person = go(providers(house), house)
    assert (person.name, person.roles) == ("anna", ("admin",))
    house.info["sub"] = "s-2"
    with pytest.raises(NotVouched, match="subject"):
        go(providers(house), house)


def test_id_token_claims_take_precedence_over_userinfo(house: StandIn) -> None:
    house.claims = {"preferred_username": None}
    house.info = {"groups": ["chiefs"], "preferred_username": "anna"}
    assert go(providers(house), house).roles == ("privacy", "listener")


@pytest.mark.parametrize(
    ("path", "answer", "error"),
    [
        ("/.well-known/openid-configuration", (500, b""), ProviderAway),
        ("/.well-known/openid-configuration", (200, b"[]"), ProviderAway),
        ("/.well-known/openid-configuration", (200, b"{" * 5000), ProviderAway),
        ("/.well-known/openid-configuration", (200, b'{"issuer": "https://evil.example"}'), ProviderAway),
        ("/.well-known/openid-configuration", (302, b"{}"), ProviderAway),
        ("/jwks", (503, b""), ProviderAway),
        ("/jwks", (200, b'{"keys": 7}'), NotVouched),
        ("/jwks", (200, b'{"keys": [7, {"kty": "RSA", "kid": "one"}]}'), NotVouched),
        ("/token", (400, b'{"error": "invalid_grant"}'), NotVouched),
        ("/token", (401, b"{}"), NotVouched),
        ("/token", (200, b"{}"), NotVouched),
        ("/token", (200, b'{"id_token": 7}'), NotVouched),
        ("/token", (200, b"<html>"), ProviderAway),
    ],
)
def test_answers_that_are_none(house: StandIn, path: str, answer: tuple[int, bytes], error: type[Exception]) -> None:
    house.answers[path] = answer
    with pytest.raises(error):
        go(providers(house), house)


def test_an_answer_without_end_is_not_read(house: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc_client, "MAX_ANSWER", 1000)
    house.answers["/jwks"] = (200, b'{"keys": [], "x": "' + b"x" * 2000 + b'"}')
    with pytest.raises(ProviderAway):
        go(providers(house), house)


def test_a_provider_that_is_away(house: StandIn) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        house.issuer = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ProviderAway):
            go(providers(house), house)


def test_wrong_state_and_wrong_nonce(house: StandIn) -> None:
    them = providers(house)
    with pytest.raises(NotVouched, match="state"):
        go(them, house, state="another")
    assert "/token" not in house.asked
    house.claims = {"nonce": "of another journey"}
    with pytest.raises(NotVouched, match="nonce"):
        go(them, house)
