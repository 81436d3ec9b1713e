"""An erasure empties the object store too: it is done only then, and names what a lock keeps."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.customer.customers import Customer, audit_key
from storage.erasure import receipts
from storage.erasure.erasure_rows import State
from storage.errors import StoreAway
from storage.objects.s3 import S3
from storage.timestamps import to_text
from storage.vault.object_vault import ObjectVault
from tests.daemon.object_stores import LOCKED, Proxy, Server
from tests.in_process.storage_node import NOON, StorageNode, finish, opens, permit, record

EVER = 1 << 63


@pytest.fixture(params=["rclone", "moto", "versions"])
def server(request: pytest.FixtureRequest, object_servers: dict[str, Server]) -> tuple[Server, str]:
    kind = "moto" if request.param == "versions" else request.param
    return object_servers[kind], LOCKED if request.param == "versions" else "parts"


@pytest.fixture
def door(server: tuple[Server, str]) -> Iterator[Proxy]:
    made = Proxy(server[0].port)
    yield made
    made.close()


@pytest.fixture
def store(server: tuple[Server, str], door: Proxy, prefix: str) -> S3:
    return S3(server[0].settings(server[1], prefix=prefix, port=door.port))


@pytest.fixture
def node(tmp_path: Path, store: S3) -> StorageNode:
    return StorageNode(tmp_path / "data", objects=store)


@pytest.fixture
def vault(acme: Customer) -> ObjectVault:
    assert isinstance(acme.vault, ObjectVault)
    return acme.vault


async def put_away(vault: ObjectVault) -> None:
    """Have the store have everything, and alone."""

    def work() -> None:
        for ref in vault.waiting():
            vault.upload(ref)
        for ref in vault.stored(EVER):
            vault.release(ref)

    await asyncio.to_thread(work)


def left(store: S3) -> set[str]:
    """Return the leaves of everything the store has, in any version."""
    versions = store.versions("acme/")
    found = [each.name for each in store.listing("acme/")]
    found += [each.key[len(store.settings.prefix) :] for each in versions or ()]
    return {name.split("/")[1] for name in found}


async def test_an_erasure_lists_once_to_delete_and_once_to_look_again(
    acme: Customer, vault: ObjectVault, store: S3, door: Proxy
) -> None:
    await permit(acme)
    for _ in range(2):  # the first one also finds out whether the store knows versions
        gone = await record(acme)
        await put_away(vault)
        door.play()
        await finish(acme, calls=[gone.id])
    lists = [first for first, _, _ in door.seen if first.startswith("GET ") and "prefix=" in first]
    assert len(lists) == 2, lists
    assert left(store) == set()
    door.play()
    assert await asyncio.to_thread(vault.remove_objects, [(gone.id, gone.leaf)]) == 0
    assert len(door.seen) == 1, "where nothing is, it is not looked for twice"


async def test_an_erased_call_is_in_no_version_and_the_others_play(
    acme: Customer, vault: ObjectVault, store: S3
) -> None:
    gone, kept = await record(acme), await record(acme, name="Jonas Lind")
    await put_away(vault)
    await put_away(vault)
    assert opens(acme, gone) and opens(acme, kept)
    await permit(acme)
    receipt = await finish(acme, calls=[gone.id])
    assert receipt["version"] == 1 and "locked" not in receipt
    assert left(store) == {f"{kept.leaf:012x}"}
    assert not opens(acme, gone) and opens(acme, kept)


async def test_retention_empties_the_store_too(
    node: StorageNode, acme: Customer, vault: ObjectVault, store: S3
) -> None:
    for _ in range(3):
        await record(acme, ended=NOON - timedelta(days=200))
    kept = await record(acme)
    await put_away(vault)
    await acme.retention.sweep(node.watch(), 100)
    assert await acme.erasures.work()
    assert left(store) == {f"{kept.leaf:012x}"}


async def test_an_absent_store_delays_an_erasure_but_not_its_cut(
    acme: Customer, vault: ObjectVault, store: S3, door: Proxy
) -> None:
    row = await record(acme)
    await put_away(vault)
    await permit(acme)
    asked = await acme.erasures.file(calls=[row.id], reason="she asked", by="paula")
    door.play(always="503")
    ledger = acme.place.data_dir / "keys" / "acme.erasures"
    for _ in range(3):
        with pytest.raises(StoreAway):
            await acme.erasures.work()
    lines = ledger.read_bytes()
    assert not acme.keys.keeps(row.leaf) and await acme.calls.get(row.id) is None and not opens(acme, row)
    assert (await acme.erasures.get(asked.id)).state == State.RUNNING
    with pytest.raises(StoreAway):
        await acme.erasures.work()
    assert ledger.read_bytes() == lines, "a store that is away adds nothing to the cut log"
    door.play()
    assert await acme.erasures.work()
    assert (await acme.erasures.get(asked.id)).state == State.DONE
    assert left(store) == set()


@pytest.mark.parametrize("server", ["versions"], indirect=True)
async def test_what_a_lock_keeps_is_in_the_receipt_with_its_date(
    acme: Customer, vault: ObjectVault, store: S3, server: tuple[Server, str]
) -> None:
    row = await record(acme)
    ref = vault.find(row.id, row.leaf, "m1")
    assert ref is not None
    sealed = ref.path.read_bytes()
    await put_away(vault)
    until = datetime(2099, 1, 1, tzinfo=UTC)
    pointer = vault.pointer(ref)
    assert pointer is not None
    name = str(vault.object_of(ref, pointer))
    await asyncio.to_thread(store.put_locked, name, sealed, "compliance", until)
    await permit(acme)
    receipt = await finish(acme, calls=[row.id])
    assert receipt["version"] == 2
    assert receipt["locked"] == [{"call": row.id, "object": name, "until": to_text(until)}]
    public = audit_key(acme.keys).public_key()
    assert receipts.verify(json.dumps(receipt).encode(), "acme", public) == receipt
    with pytest.raises(receipts.BadReceipt):
        receipts.verify(json.dumps({**receipt, "locked": []}).encode(), "acme", public)
    assert not opens(acme, row)


async def test_an_old_copy_of_everything_opens_nothing_erased(
    node: StorageNode, acme: Customer, vault: ObjectVault, store: S3, tmp_path: Path
) -> None:
    """The store, data_dir and today's keys: whatever was copied before, the erased call opens nowhere."""
    gone, kept = await record(acme), await record(acme, name="Jonas Lind")
    await put_away(vault)
    before = {each.name: await fetched(store, each.name, each.size) for each in store.listing("acme/")}
    await permit(acme)
    node.backup(tmp_path / "old")
    await finish(acme, calls=[gone.id])
    await acme.close()
    (node.data / "keys").rename(tmp_path / "old" / "keys")
    for name, data in before.items():
        await asyncio.to_thread(store.put, name, data)
    async with StorageNode(tmp_path / "old", objects=store).opened() as again:
        assert not opens(again, gone) and await again.calls.get(gone.id) is None
        assert opens(again, kept)


async def fetched(store: S3, name: str, size: int) -> bytes:
    got: list[bytes] = []
    await asyncio.to_thread(store.read, name, size, got.append)
    return b"".join(got)
