"""Asking a provider: only when somebody comes, patiently with its keys, and without being led anywhere else."""

from __future__ import annotations

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
from tests.in_process.waiting import Clock

BACK = "https://rec.example/openid/back"


@pytest.fixture
def house() -> Iterator[StandIn]:
    with provider() as stand_in:
        yield stand_in


@pytest.fixture
def clock() -> Clock:
    return Clock()


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


async def go(them: Providers, house: StandIn, **changes: str) -> Person:
    """Sign in at the provider and come back."""
    provider_login = await them.begin("acme", 0, BACK)
    return await them.finish(provider_login, {**house.leave(provider_login.link), **changes})


async def test_a_person_comes_back_with_name_and_roles(house: StandIn) -> None:
    them = providers(house)
    assert (them.names("acme"), them.names("beta"), house.asked) == (["House"], [], [])  # nobody has come yet
    person = await go(them, house)
    assert (person.name, person.roles, person.account) == ("anna@acme.example", ("privacy", "listener"), "")
    assert (person.actor.kind, person.actor.id) == ("openid", f"{house.issuer} s-1")
    form = house.forms[-1]
    assert (form["code"], form["redirect_uri"], form["client_id"]) == ("c-1", BACK, "recorder")
    assert len(form["code_verifier"]) >= 43


async def test_a_secret_is_read_when_it_is_needed(house: StandIn, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    await go(providers(house, client_secret=f"file:{file}"), house)
    headers = {name.lower(): value for name, value in house.headers[-1].items()}
    assert headers["authorization"].startswith("Basic ")


async def test_documents_and_keys_are_kept_for_the_next_one(house: StandIn, clock: Clock) -> None:
    them = providers(house, clock)
    for _ in range(3):
        await go(them, house)
    assert house.asked.count("/.well-known/openid-configuration") == house.asked.count("/jwks") == 1
    clock.at += 3601
    await go(them, house)
    assert house.asked.count("/.well-known/openid-configuration") == 2


async def test_a_new_provider_key_is_fetched_but_not_at_will(house: StandIn, clock: Clock) -> None:
    them = providers(house, clock)
    await go(them, house)
    house.keys = [house.keys[0], key("two")]
    clock.at += 60
    assert (await go(them, house)).name == "anna@acme.example"
    assert house.asked.count("/jwks") == 2
    published, house.keys = house.keys, [key("made-up")]
    house.answers["/jwks"] = (200, json.dumps({"keys": [k.as_dict(private=False) for k in published]}).encode())
    for _ in range(5):
        with pytest.raises(NotVouched):
            await go(them, house)
    assert house.asked.count("/jwks") == 2


async def test_a_withdrawn_key_is_soon_refused(house: StandIn, clock: Clock) -> None:
    them = providers(house, clock)
    await go(them, house)
    stolen, successor = house.keys[0], key("two")
    house.answers["/jwks"] = (200, json.dumps({"keys": [successor.as_dict(private=False)]}).encode())
    clock.at += oidc_client.KEYS_KEPT - 1
    assert house.keys == [stolen]
    assert (await go(them, house)).name == "anna@acme.example"
    clock.at += 2
    with pytest.raises(NotVouched, match="key"):
        await go(them, house)
    house.answers["/jwks"] = (503, b"")
    clock.at += oidc_client.KEYS_KEPT + 1
    with pytest.raises(ProviderAway):  # what cannot be asked again does not count any longer
        await go(them, house)


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
async def test_a_name_reserved_for_another_actor_is_refused(house: StandIn, name: str, taken: dict[str, str]) -> None:
    house.claims = {"preferred_username": name}
    them = Providers([sign_in(house.issuer)], {"acme": acme(**taken)})
    with pytest.raises(NotVouched, match="name"):
        await go(them, house)


async def test_userinfo_supplies_missing_claims_of_the_same_subject(house: StandIn) -> None:
    house.claims = {"groups": None, "preferred_username": None}
    house.info = {"groups": ["chiefs"], "preferred_username": "anna"}
    person = await go(providers(house), house)
    assert (person.name, person.roles) == ("anna", ("admin",))
    house.info["sub"] = "s-2"
    with pytest.raises(NotVouched, match="subject"):
        await go(providers(house), house)
    house.claims, house.info = {"preferred_username": None}, {"groups": ["chiefs"], "preferred_username": "anna"}
    assert (await go(providers(house), house)).roles == ("privacy", "listener")  # those of the id token count first


@pytest.mark.parametrize(
    ("path", "answer", "error"),
    [
        ("/.well-known/openid-configuration", (500, b""), ProviderAway),
        ("/.well-known/openid-configuration", (200, b"[]"), ProviderAway),
        ("/.well-known/openid-configuration", (200, b"{" * 5000), ProviderAway),
        ("/.well-known/openid-configuration", (200, b'{"issuer": "https://evil.example"}'), ProviderAway),
        ("/.well-known/openid-configuration", (302, b"{}"), ProviderAway),
        ("/jwks", (503, b""), ProviderAway),
        ("/jwks", (200, b'{"keys": [], "x": "' + b"x" * oidc_client.MAX_ANSWER + b'"}'), ProviderAway),
        ("/jwks", (200, b'{"keys": 7}'), NotVouched),
        ("/jwks", (200, b'{"keys": [7, {"kty": "RSA", "kid": "one"}]}'), NotVouched),
        ("/token", (400, b'{"error": "invalid_grant"}'), NotVouched),
        ("/token", (401, b"{}"), NotVouched),
        ("/token", (200, b"{}"), NotVouched),
        ("/token", (200, b'{"id_token": 7}'), NotVouched),
        ("/token", (200, b"<html>"), ProviderAway),
    ],
)
async def test_an_unusable_answer_is_refused(
    house: StandIn, path: str, answer: tuple[int, bytes], error: type[Exception]
) -> None:
    house.answers[path] = answer
    with pytest.raises(error):
        await go(providers(house), house)


async def test_a_provider_that_does_not_answer_is_away(house: StandIn) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        house.issuer = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ProviderAway):
            await go(providers(house), house)
