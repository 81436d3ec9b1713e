"""Which passwords are taken, how they are kept, and that a flood of them waits in one thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import argon2
import pytest

from admin_api.access.accounts_port import Busy
from recorder.access import passwords
from recorder.access.passwords import Passwords, fault

GOOD = "a fine long passphrase"


@pytest.fixture
def checks() -> Iterator[Passwords]:
    """Have checks that are fast."""
    made = Passwords(passes=1, memory=64)
    yield made
    made.close()


class Held:
    """Keeps checks from being made until they may go."""

    def __init__(self, checks: Passwords, patch: pytest.MonkeyPatch) -> None:
        self.checks, self.go = checks, threading.Event()
        self.order, self.waiting = list[str](), list[asyncio.Future[bool]]()
        patch.setattr(argon2.PasswordHasher, "verify", self.compare)  # nothing else takes as long as a test likes

    def compare(self, _: object, password: bytes) -> bool:
        self.go.wait(30)
        self.order.append(password.decode())
        return True

    async def come(self, name: str, network: str = "") -> None:
        """Have somebody wait for a check."""
        self.waiting.append(asyncio.ensure_future(self.checks.genuine("kept", name, network)))
        await asyncio.sleep(0)


@pytest.fixture
def held(checks: Passwords, monkeypatch: pytest.MonkeyPatch) -> Held:
    """Have checks that wait."""
    return Held(checks, monkeypatch)


@pytest.mark.parametrize(
    "password",
    ["", "short", "elevenchars", "a" * 257, "aaaaaaaaaaaa", "abababababab", "passwordpassword", "Password Password",
     "anna schmidt", "Anna Schmidt1", "anna schmidt" * 3, "123456789012"],
)  # fmt: skip
def test_an_unacceptable_password_is_refused(password: str) -> None:
    assert fault(password, "Anna Schmidt")


@pytest.mark.parametrize(
    "password", [GOOD, "twelve chars", "пароль из слов", "annas hund heißt anna", "a1" * 2 + "bcdefghi"]
)
def test_length_is_all_that_is_asked_for(password: str) -> None:
    assert fault(password, "anna") == ""


async def test_a_hash_is_argon2id_with_the_parameters_of_the_rfc() -> None:
    checks = Passwords()
    kept = await checks.hash(GOOD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await checks.genuine(kept, GOOD)
    checks.close()


async def test_no_password_but_the_right_one_matches(checks: Passwords) -> None:
    kept = await checks.hash(GOOD)
    assert kept != await checks.hash(GOOD)
    assert await checks.genuine(kept, GOOD) and not await checks.genuine(kept, GOOD + " ")
    for none in (None, "", "no hash", "$argon2id$v=19$m=64,t=1,p=4$"):
        assert not await checks.genuine(none, GOOD)


async def test_an_unknown_name_costs_as_much_as_a_known_one(checks: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, verify = list[str](), argon2.PasswordHasher.verify

    def look(self: argon2.PasswordHasher, kept: str, given: str) -> bool:
        seen.append(kept.rsplit("$", 2)[0])
        return verify(self, kept, given)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", look)
    for each in (await checks.hash(GOOD), None):
        await checks.genuine(each, "wrong")
    assert len(seen) == 2 and len(set(seen)) == 1  # the same parameters


async def test_passwords_are_hashed_one_at_a_time_in_a_nice_thread(
    checks: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    monkeypatch.setattr(argon2.PasswordHasher, "verify", lambda *_: not seen.add((threading.get_ident(), os.nice(0))))
    await asyncio.gather(*(checks.genuine(None, GOOD) for _ in range(5)))
    assert [nice for _, nice in seen] == [max(passwords.NICE, os.nice(0))]


async def test_a_full_password_queue_refuses_further_checks(held: Held) -> None:
    for number in range(passwords.MAX_WAITING):
        await held.come(str(number))
    with pytest.raises(Busy):
        await held.checks.genuine("kept", GOOD)
    held.go.set()
    assert all(await asyncio.gather(*held.waiting))
    assert await held.checks.genuine("kept", GOOD)


async def test_attempts_from_unknown_networks_wait_behind_others(held: Held) -> None:
    for number in range(passwords.MAX_WAITING):
        await held.come(f"stranger {number}", f"10.0.{number // passwords.MAX_OF_ONE}.0/24")
    with pytest.raises(Busy):
        await held.checks.genuine("kept", GOOD, "10.9.9.0/24")
    for number in range(passwords.MAX_WAITING):
        await held.come(f"known {number}")
    held.waiting.pop(20).cancel()
    held.go.set()
    assert all(await asyncio.gather(*held.waiting))
    known = [f"known {number}" for number in range(passwords.MAX_WAITING) if number != 4]
    assert held.order == ["stranger 0", *known, *(f"stranger {n}" for n in range(1, passwords.MAX_WAITING))]
    assert await held.checks.genuine("kept", GOOD, "10.9.9.0/24"), "all places are free again"


async def test_one_network_has_few_places_whatever_addresses_it_has(held: Held) -> None:
    for _ in range(passwords.MAX_OF_ONE):
        await held.come(GOOD, "2001:db8::/56")
    with pytest.raises(Busy):
        await held.checks.genuine("kept", GOOD, "2001:db8::/56")
    await held.come(GOOD, "10.0.0.0/24")
    held.go.set()
    assert all(await asyncio.gather(*held.waiting))
