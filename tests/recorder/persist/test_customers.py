"""Customers are opened with the configured root secret, and never made by accident."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.errors import WrongUse
from recorder.persist import customers
from storage.errors import KeysWrong, StorageError
from tests.in_process.recorder_node import configured


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
