"""Customers are opened with the configured root secret, and never made by accident."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder.config.model import Settings
from recorder.errors import WrongUse
from recorder.persist import customers
from storage.errors import KeysWrong, StorageError
from storage.keys.leaf_counter import COUNTER_BITS
from storage.keys.sealing import new_leaf
from tests.in_process.recorder_node import configured

DAY = 20_513


def test_missing_keys_are_never_made(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    (tmp_path / "data/keys/acme.forget").unlink()
    with pytest.raises(StorageError) as told:
        asyncio.run(customers.open_customers(settings))
    assert told.value.hint
    assert not customers.customer_exists(settings, settings.customers[0])


def test_keys_of_another_root_secret_are_refused(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    customers.check_keys(settings, settings.customers[0])
    Path(settings.keys.root.removeprefix("file:")).write_bytes(bytes(range(1, 33)))
    with pytest.raises(KeysWrong, match="acme"):
        customers.check_keys(settings, settings.customers[0])


def test_an_unknown_customer_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="nobody"):
        customers.open_credentials(configured(tmp_path), "nobody")


def test_storage_learns_how_erasures_are_approved(tmp_path: Path) -> None:
    (customer,) = configured(tmp_path).customers
    assert not customers.storage_settings(customer).approval
    assert customers.storage_settings(replace(customer, approve_erasures=True)).approval


def leaves_given(settings: Settings) -> set[int]:
    """Return leaves as the daemon, its commands and the accounts allocate them."""

    async def opened() -> list[int]:
        acme = (await customers.open_customers(settings))["acme"]
        try:
            return [acme.keys.allocate(DAY), new_leaf(acme.keys)]
        finally:
            await acme.close()

    accounts = customers.open_accounts(settings, "acme")
    accounts.create("anna", ["admin"], datetime(2026, 3, 1, tzinfo=UTC))
    (served,) = customers.open_each(settings)[0].values()
    return {served.keys.allocate(DAY), *accounts.leaves(), *asyncio.run(opened())}


def test_two_nodes_never_allocate_the_same_leaf(tmp_path: Path) -> None:
    given = []
    for number in (0, 1, 255):
        (tmp_path / f"{number}").mkdir()
        settings = configured(tmp_path / f"{number}")
        settings = replace(settings, node=replace(settings.node, number=number))
        given.append(leaves_given(settings))
        assert {leaf >> COUNTER_BITS & 0xFF for leaf in given[-1]} == {number}
    assert len(set().union(*given)) == sum(map(len, given)) == 12


def test_data_of_a_single_node_open_under_a_number(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    before = leaves_given(settings)
    (acme,) = customers.open_each(replace(settings, node=replace(settings.node, number=7)))[0].values()
    assert all(acme.keys.secret(leaf, "media") for leaf in before)
    assert acme.keys.allocate(DAY) not in before
