"""Which passwords are taken, how they are kept, and that a flood of them waits in one thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable

import pytest

from admin_api.access.accounts_port import Busy
from recorder.access import passwords
from recorder.access.passwords import Passwords, fault

GOOD = "a fine long passphrase"


def run(story: Callable[[Passwords], Awaitable[None]], **more: int) -> None:
    async def write_audit() -> None:
        checks = Passwords(**{"passes": 1, "memory": 64, **more})
        try:
            await story(checks)
        finally:
            checks.close()

    asyncio.run(write_audit())


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


def test_a_hash_is_argon2id_with_the_parameters_of_the_rfc() -> None:
    async def story(checks: Passwords) -> None:
        kept = await checks.hash(GOOD)
        assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert kept != await checks.hash(GOOD)
        assert await checks.genuine(kept, GOOD)
        assert not await checks.genuine(kept, GOOD + " ")

    run(story, passes=passwords.PASSES, memory=passwords.MEMORY)


@pytest.mark.parametrize("kept", [None, "", "no hash", "$argon2id$v=19$m=64,t=1,p=4$"])
def test_without_a_hash_no_password_matches_at_equal_cost(kept: str | None) -> None:
    async def story(checks: Passwords) -> None:
        assert not await checks.genuine(kept, GOOD)

    run(story)


def test_an_unknown_name_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import argon2

    seen = []
    verify = argon2.PasswordHasher.verify
    monkeypatch.setattr(
        argon2.PasswordHasher, "verify", lambda self, kept, given: seen.append(kept) or verify(self, kept, given)
    )

    async def story(checks: Passwords) -> None:
        kept = await checks.hash(GOOD)
        for each in (kept, None):
            await checks.genuine(each, "wrong")

    run(story)
    assert len(seen) == 2
    assert seen[0].rsplit("$", 2)[0] == seen[1].rsplit("$", 2)[0]  # the same parameters


def test_passwords_are_hashed_one_at_a_time_in_a_nice_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def story(checks: Passwords) -> None:
        monkeypatch.setattr(checks, "_compare", lambda *_: seen.append((threading.get_ident(), os.nice(0))) or True)
        await asyncio.gather(*(checks.genuine(None, GOOD) for _ in range(5)))

    run(story)
    assert len({thread for thread, _ in seen}) == 1
    assert {nice for _, nice in seen} == {max(passwords.NICE, os.nice(0))}


def test_a_full_password_queue_refuses_further_checks() -> None:
    async def story(checks: Passwords) -> None:
        go = threading.Event()
        checks._compare = lambda *_: go.wait(30)  # type: ignore[method-assign]  # held up here
        waiting = [asyncio.ensure_future(checks.genuine(None, GOOD)) for _ in range(passwords.MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await checks.genuine(None, GOOD)
        go.set()
        assert all(await asyncio.gather(*waiting))
        assert await checks.genuine(None, GOOD)

    run(story)


def test_attempts_from_unknown_networks_wait_behind_others() -> None:
    async def story(checks: Passwords) -> None:
        go, order = threading.Event(), list[str]()
        checks._compare = lambda _, password: go.wait(30) and (order.append(password) or True)  # type: ignore[method-assign, func-returns-value]  # held up here
        waiting = []

        def come(name: str, elsewhere: str = "") -> None:
            waiting.append(asyncio.ensure_future(checks.genuine(None, name, elsewhere)))

        for number in range(passwords.MAX_WAITING):
            come(f"stranger {number}", f"10.0.{number // passwords.MAX_OF_ONE}.0/24")
            await asyncio.sleep(0)
        with pytest.raises(Busy):
            await checks.genuine(None, GOOD, "10.9.9.0/24")
        for number in range(passwords.MAX_WAITING):
            come(f"known {number}")
            await asyncio.sleep(0)
        waiting.pop(20).cancel()
        go.set()
        assert all(await asyncio.gather(*waiting))
        known = [f"known {number}" for number in range(passwords.MAX_WAITING) if number != 4]
        assert order == ["stranger 0", *known, *(f"stranger {n}" for n in range(1, passwords.MAX_WAITING))]
        assert await checks.genuine(None, GOOD, "10.9.9.0/24"), "all places are free again"

    run(story)


def test_one_network_has_few_places_whatever_addresses_it_has() -> None:
    async def story(checks: Passwords) -> None:
        go = threading.Event()
        checks._compare = lambda *_: go.wait(30)  # type: ignore[method-assign]  # held up here
        come = [checks.genuine(None, GOOD, "2001:db8::/56") for _ in range(passwords.MAX_OF_ONE)]
        waiting = [asyncio.ensure_future(each) for each in come]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await checks.genuine(None, GOOD, "2001:db8::/56")
        waiting.append(asyncio.ensure_future(checks.genuine(None, GOOD, "10.0.0.0/24")))
        await asyncio.sleep(0)
        go.set()
        assert all(await asyncio.gather(*waiting))

    run(story)
