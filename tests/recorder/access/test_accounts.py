"""Accounts as the daemon keeps them, below the page: what is written, and what two at once do to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


class Family:
    """One customer, anna, and a clock."""

    def __init__(self, acme: Customer) -> None:
        self.acme, self.at = acme, NOW
        self.account_service = AccountService(
            {"acme": acme}, checks=Passwords(passes=1, memory=64), now=lambda: self.at
        )

    async def anna(self) -> Person:
        secret = self.acme.accounts.create("anna", ["admin"], self.at).secret
        person = await self.account_service.accept("acme", secret, PASSWORD)
        assert person
        return person


def story(tmp_path: Path, write_audit: Callable[[Family], Awaitable[None]]) -> None:
    async def run() -> None:
        root = RootSecret(bytes(range(32)))
        settings = [CustomerSettings("acme")]
        customers = await Customers.open(tmp_path, root, settings, database="sqlite", now=lambda: NOW, later=True)
        family = Family(customers["acme"])
        try:
            await write_audit(family)
        finally:
            family.account_service.close()
            await customers.close()

    asyncio.run(run())


def test_of_two_who_use_one_link_at_once_one_gets_in(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        secret = family.acme.accounts.create("anna", ["admin"], NOW).secret
        tries = (family.account_service.accept("acme", secret, f"{PASSWORD} {i}") for i in range(4))
        found = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(each, Person) for each in found) == 1
        assert all(each is None or isinstance(each, Person | Declined) for each in found)

    story(tmp_path, write_audit)


def test_a_link_replaced_during_password_hashing_is_invalid(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        made = family.acme.accounts.create("anna", ["admin"], NOW)
        old = asyncio.ensure_future(family.account_service.accept("acme", made.secret, PASSWORD))
        await asyncio.sleep(0)  # it waits for its turn
        new = family.acme.accounts.invite(made.account.id, NOW)
        with pytest.raises(Declined):
            await old
        assert await family.account_service.accept("acme", new.secret, PASSWORD)

    story(tmp_path, write_audit)


def test_of_two_who_use_one_code_at_once_one_gets_in(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        anna = await family.anna()
        app = family.account_service.new_app(anna)
        step = int(NOW.timestamp()) // totp.STEP
        codes = await family.account_service.add_app(anna, app.secret, totp.code_at(app.secret, step))
        family.at += timedelta(minutes=1)
        code = totp.code_at(app.secret, step + 2)
        for each in (code, codes[0]):
            found = await asyncio.gather(*(family.account_service.code(anna, each) for _ in range(4)))
            assert sorted(found) == [False, False, False, True]

    story(tmp_path, write_audit)


def test_login_works_and_codes_are_single_use_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise NoSpace("the disk is full")

    async def write_audit(family: Family) -> None:
        anna = await family.anna()
        app = family.account_service.new_app(anna)
        step = int(NOW.timestamp()) // totp.STEP
        spare = (await family.account_service.add_app(anna, app.secret, totp.code_at(app.secret, step)))[0]
        family.at += timedelta(minutes=1)
        code = totp.code_at(app.secret, step + 2)
        with monkeypatch.context() as no_space:
            no_space.setattr(Disk, "replace", full)
            found = await asyncio.gather(*(family.account_service.code(anna, code) for _ in range(4)))
            assert sorted(found) == [False, False, False, True]
            await family.account_service.entered(anna)
            with pytest.raises(NoSpace):
                await family.account_service.code(anna, spare)
        assert not await family.account_service.code(anna, code), "nor once there is space again"
        assert await family.account_service.code(anna, spare)

    story(tmp_path, write_audit)


def test_the_code_that_set_an_app_up_is_used_up_with_it(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        anna = await family.anna()
        app = family.account_service.new_app(anna)
        code = totp.code_at(app.secret, int(NOW.timestamp()) // totp.STEP)
        await family.account_service.add_app(anna, app.secret, code)
        assert not await family.account_service.code(anna, code)

    story(tmp_path, write_audit)


def test_getting_in_is_noted_and_voids_the_link_that_is_out(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        anna = await family.anna()
        family.acme.accounts.invite(anna.account, NOW)
        family.at += timedelta(hours=2)
        await family.account_service.entered(anna)
        account = family.acme.accounts.get(anna.account)
        assert account
        assert (account.signed_in_at, account.invitation) == (family.at, None)
        assert family.account_service.stands(anna)

    story(tmp_path, write_audit)


def test_an_ended_session_changes_nothing(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        anna = await family.anna()
        family.acme.accounts.change(anna.account, lambda a: a.ended(roles=("listener",)))
        assert not family.account_service.stands(anna)
        for act in (
            family.account_service.entered(anna),
            family.account_service.code(anna, "000000"),
            family.account_service.change_password(anna, PASSWORD, PASSWORD + "!"),
            family.account_service.drop(anna),
        ):
            with pytest.raises(Declined):
                await act
        family.acme.accounts.remove(anna.account)
        with pytest.raises(Declined):
            family.account_service.factors(anna)
        with pytest.raises(Declined):
            await family.account_service.entered(anna)

    story(tmp_path, write_audit)


def test_a_provider_session_has_no_account_that_could_end(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        assert family.account_service.stands(Person(family.acme, "anna@example", ("admin",)))

    story(tmp_path, write_audit)


def test_a_name_is_known_in_any_spelling_even_if_disabled(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        anna = await family.anna()
        family.acme.accounts.change(anna.account, lambda a: a.ended(disabled=True))
        found = family.account_service.known("acme", " ANNA")
        assert found
        assert found.account == anna.account
        assert family.account_service.known("none", "anna") is None
        assert await family.account_service.enter("acme", "anna", PASSWORD) is None

    story(tmp_path, write_audit)


def test_an_app_is_taken_with_the_right_code_alone(tmp_path: Path) -> None:
    async def write_audit(family: Family) -> None:
        anna = await family.anna()
        app = family.account_service.new_app(anna)
        assert app.link.startswith("otpauth://totp/Recorder:anna%20%28acme%29?secret=")
        with pytest.raises(Declined):
            await family.account_service.add_app(anna, app.secret, "000000")
        assert not family.account_service.factors(anna).any

    story(tmp_path, write_audit)
