"""Accounts as the daemon keeps them, below the page: what is written, and what two at once do to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from admin_api.access.accounts_port import Declined, Person
from recorder.access import totp
from recorder.access.accounts import AccountService
from recorder.access.passwords import Passwords
from storage.customer.customers import Customer, Customers, CustomerSettings
from storage.errors import NoSpace
from storage.files.durable_files import Disk
from storage.keys.root_secret import RootSecret

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
PASSWORD = "a fine long passphrase"
STEP = int(NOW.timestamp()) // totp.STEP


class Accounts:
    """The accounts of one customer, and a clock."""

    def __init__(self, acme: Customer) -> None:
        self.acme, self.at = acme, NOW
        self.service = AccountService({"acme": acme}, checks=Passwords(passes=1, memory=64), now=lambda: self.at)

    async def anna(self) -> Person:
        """Have somebody with a password."""
        person = await self.service.accept(
            "acme", self.acme.accounts.create("anna", ["admin"], self.at).secret, PASSWORD
        )
        assert person
        return person

    async def anna_with_app(self) -> tuple[Person, str, str, str]:
        """Have somebody with an app: the code that set it up, the next one, and a recovery code."""
        anna = await self.anna()
        app = self.service.new_app(anna)
        first = totp.code_at(app.secret, STEP)
        spare, *_ = await self.service.add_app(anna, app.secret, first)
        self.at += timedelta(minutes=1)
        return anna, first, totp.code_at(app.secret, STEP + 2), spare

    async def four_times(self, person: Person, code: str) -> list[bool]:
        """Use one code four times at once."""
        return sorted(await asyncio.gather(*(self.service.code(person, code) for _ in range(4))))


@pytest.fixture
def here(loop: asyncio.Runner, tmp_path: Path) -> Iterator[Accounts]:
    """Have the accounts of a customer."""
    root, settings = RootSecret(bytes(range(32))), [CustomerSettings("acme")]
    customers = loop.run(Customers.open(tmp_path, root, settings, database="sqlite", now=lambda: NOW, later=True))
    accounts = Accounts(customers["acme"])
    yield accounts
    accounts.service.close()
    loop.run(customers.close())


async def test_of_two_who_use_one_link_at_once_one_gets_in(here: Accounts) -> None:
    secret = here.acme.accounts.create("anna", ["admin"], NOW).secret
    tries = (here.service.accept("acme", secret, f"{PASSWORD} {i}") for i in range(4))
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, Person) for each in found) == 1
    assert all(each is None or isinstance(each, Person | Declined) for each in found)


async def test_a_link_replaced_during_password_hashing_is_invalid(here: Accounts) -> None:
    made = here.acme.accounts.create("anna", ["admin"], NOW)
    old = asyncio.ensure_future(here.service.accept("acme", made.secret, PASSWORD))
    await asyncio.sleep(0)  # it waits for its turn
    new = here.acme.accounts.invite(made.account.id, NOW)
    with pytest.raises(Declined):
        await old
    assert await here.service.accept("acme", new.secret, PASSWORD)


async def test_of_two_who_use_one_code_at_once_one_gets_in(here: Accounts) -> None:
    anna, first, code, spare = await here.anna_with_app()
    assert not await here.service.code(anna, first)  # the code that set the app up is used up with it
    for each in (code, spare):
        assert await here.four_times(anna, each) == [False, False, False, True]


async def test_login_works_and_codes_are_single_use_on_a_full_disk(
    here: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise NoSpace("the disk is full")

    anna, _, code, spare = await here.anna_with_app()
    with monkeypatch.context() as no_space:
        no_space.setattr(Disk, "replace", full)
        assert await here.four_times(anna, code) == [False, False, False, True]
        await here.service.entered(anna)
        with pytest.raises(NoSpace):
            await here.service.code(anna, spare)
    assert not await here.service.code(anna, code), "nor once there is space again"
    assert await here.service.code(anna, spare)


async def test_getting_in_is_noted_and_voids_the_link_that_is_out(here: Accounts) -> None:
    anna = await here.anna()
    here.acme.accounts.invite(anna.account, NOW)
    here.at += timedelta(hours=2)
    await here.service.entered(anna)
    account = here.acme.accounts.get(anna.account)
    assert account and (account.signed_in_at, account.invitation) == (here.at, None)
    assert here.service.stands(anna)
    assert here.service.stands(Person(here.acme, "anna@example", ("admin",)))  # a provider's: no account could end


async def test_an_ended_session_changes_nothing(here: Accounts) -> None:
    anna = await here.anna()
    here.acme.accounts.change(anna.account, lambda a: a.ended(roles=("listener",)))
    assert not here.service.stands(anna)
    for act in (
        here.service.entered(anna),
        here.service.code(anna, "000000"),
        here.service.change_password(anna, PASSWORD, PASSWORD + "!"),
        here.service.drop(anna),
    ):
        with pytest.raises(Declined):
            await act
    here.acme.accounts.remove(anna.account)
    with pytest.raises(Declined):
        here.service.factors(anna)
    with pytest.raises(Declined):
        await here.service.entered(anna)


async def test_a_name_is_known_in_any_spelling_even_if_disabled(here: Accounts) -> None:
    anna = await here.anna()
    here.acme.accounts.change(anna.account, lambda a: a.ended(disabled=True))
    found = here.service.known("acme", " ANNA")
    assert found and found.account == anna.account
    assert here.service.known("none", "anna") is None
    assert await here.service.enter("acme", "anna", PASSWORD) is None


async def test_an_app_is_taken_with_the_right_code_alone(here: Accounts) -> None:
    anna = await here.anna()
    app = here.service.new_app(anna)
    assert app.link.startswith("otpauth://totp/Recorder:anna%20%28acme%29?secret=")
    with pytest.raises(Declined):
        await here.service.add_app(anna, app.secret, "000000")
    assert not here.service.factors(anna).any
