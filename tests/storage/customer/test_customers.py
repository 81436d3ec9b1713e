"""A customer is opened as one thing, kept apart from all others, and never given new keys by accident."""

import asyncio
import os
import shutil
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from personal import Personal
from storage.audit.hash_chain import Act
from storage.calls.call_document import wrapped
from storage.calls.call_row import CallRow, CallState, Query
from storage.customer.customers import Customer, Customers, CustomerSettings, audit_key, open_keys
from storage.customer.wiring import Components, assemble
from storage.database.database import DatabaseAway, DatabaseDamaged
from storage.errors import DiskFailed, Incomplete, KeysError, StorageError
from storage.keys.root_secret import RootSecret
from tests.in_process.key_files import cut_days

ROOT = RootSecret(bytes(range(32)))
ACME, BETA = CustomerSettings("acme"), CustomerSettings("beta", country="AT", retention_days=None)
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def now() -> datetime:
    return datetime(2026, 3, 1, 12, tzinfo=UTC)


async def opened(data: Path, *settings: CustomerSettings, root: RootSecret = ROOT, create: bool = True) -> Customers:
    return await Customers.open(data, root, settings, database="sqlite", now=now, create=create)


def row(leaf: int) -> CallRow:
    return CallRow(ID, leaf, CallState.COMPLETE, now(), now(), 1, 1, details=wrapped({"parties": []}))


async def test_everything_of_a_customer_survives_in_its_folder(tmp_path: Path) -> None:
    customers = await opened(tmp_path, ACME)
    acme = customers["acme"]
    await acme.calls.put([row(acme.keys.allocate(20513))], [("w:mira",)])
    token = acme.credentials.create("alice", ["admin"], now()).token
    acme.audit.append(Act("alice", "admin", "token.create"))
    await customers.close()
    assert {p.name for p in (tmp_path / "customers" / "acme").iterdir()} >= {
        "audit.jsonl",
        "tokens.json",
        "index.sqlite3",
    }

    customers = await opened(tmp_path, ACME, create=False)
    acme = customers["acme"]
    assert (await acme.calls.find(Query(party=Personal("Mira")))).items[0].id == ID
    assert acme.credentials.check(token, now())
    assert acme.audit.verify().entries == 1 and list(customers) == ["acme"]
    await customers.close()


async def test_keys_are_made_on_request_and_lost_ones_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(KeysError):
        await opened(tmp_path, ACME, create=False)
    await (await opened(tmp_path, ACME, BETA)).close()
    with pytest.raises(KeysError):
        await opened(tmp_path, ACME, root=RootSecret(bytes(32)))
    (tmp_path / "customers" / "beta" / "index.sqlite3").write_bytes(b"no database" * 999)
    with pytest.raises(StorageError):
        await opened(tmp_path, ACME, BETA)
    await (await opened(tmp_path, ACME)).close()
    shutil.rmtree(tmp_path / "keys")
    with pytest.raises(KeysError):
        await opened(tmp_path, ACME)
    assert not (tmp_path / "keys" / "acme.forget").exists()


def test_the_audit_key_outlives_cuts_of_every_past_day(tmp_path: Path) -> None:
    keys = open_keys(tmp_path, "acme", ROOT, create=True)
    before = audit_key(keys).public_key()
    cut_days(keys, *range(40_000))
    assert audit_key(open_keys(tmp_path, "acme", ROOT)).public_key() == before


async def test_a_missing_database_leaves_the_rest_of_a_customer_open(tmp_path: Path) -> None:
    await (await opened(tmp_path, ACME)).close()
    file = tmp_path / "customers" / "acme" / "index.sqlite3"
    whole = file.read_bytes()
    file.write_bytes(b"no database" * 999)
    customers = await Customers.open(tmp_path, ROOT, [ACME], database="sqlite", now=now, create=False, later=True)
    acme = customers["acme"]
    for _ in range(2):
        with pytest.raises(DatabaseDamaged):
            await acme.open_database()
    with pytest.raises(DatabaseAway):
        await acme.calls.find(Query())
    leaf = acme.keys.allocate(20513)
    os.close(acme.vault.create(ID, leaf, "c1").fd)
    assert acme.credentials.create("alice", ["admin"], now()).token
    assert acme.audit.append(Act("alice", "admin", "token.create")).result() == 1
    file.write_bytes(whole)
    await acme.open_database()
    await acme.calls.put([row(leaf)], [()])
    assert (await acme.calls.find(Query())).items[0].id == ID
    await customers.close()


async def test_no_request_is_served_before_the_ledger_is_replayed(tmp_path: Path) -> None:
    customers = await Customers.open(tmp_path, ROOT, [ACME], database="sqlite", now=now, later=True)

    async def stranger() -> None:
        await acme.calls.find(Query())

    async def catch_up() -> None:
        await acme.calls.find(Query())
        with pytest.raises(DatabaseAway, match="not open yet"):
            await asyncio.get_running_loop().create_task(stranger(), context=outside)

    def assembled(*given: Any) -> Components:
        return replace(assemble(*given), catch_up=catch_up)

    outside = copy_context()
    acme = Customer(ACME, customers["acme"].keys, customers["acme"].place, assembled)
    await acme.open_database()
    await stranger()
    await acme.close()


async def test_a_customer_that_failed_to_assemble_is_retried(tmp_path: Path) -> None:
    customers = await Customers.open(tmp_path, ROOT, [ACME], database="sqlite", now=now, later=True)
    tries: list[int] = []

    def assembled(*given: Any) -> Components:
        tries.append(1)
        if len(tries) == 1:
            raise DiskFailed("away")
        return assemble(*given)

    acme = Customer(ACME, customers["acme"].keys, customers["acme"].place, assembled)
    for error in (DiskFailed, Incomplete):
        with pytest.raises(error):
            assert acme.calls is None
    assert tries == [1], "whoever asks does not wait for the disk"
    assert acme.credentials.create("alice", ["admin"], now()).token, "a token is known nevertheless"
    seen = [(acme.whole, acme.served)]
    acme.complete()
    seen.append((acme.whole, acme.served))
    await acme.open_database()
    assert [*seen, (acme.whole, acme.served)] == [(False, False), (True, False), (True, True)]
    await acme.close()
