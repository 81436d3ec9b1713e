"""Locks in an object store follow retention and legal holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recorder.maintenance import lock_job
from recorder.maintenance.lock_job import LockJob, lock_day
from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer
from storage.errors import StoreAway
from storage.objects.s3 import S3
from storage.timestamps import EPOCH, day_of
from storage.vault.object_vault import ObjectVault
from tests.daemon.object_stores import LOCKED, SEEN, Proxy, Server, client
from tests.in_process.storage_node import StorageNode, Watch, record
from tests.in_process.waiting import until
from tests.recorder.job_parts import Log

NOW = datetime.now(UTC).replace(microsecond=0)
DUE = day_of(NOW + timedelta(days=180)) + 1


@pytest.fixture
def store(object_servers: dict[str, Server], door: Proxy, prefix: str) -> S3:
    settings = object_servers["moto"].settings(LOCKED, prefix=prefix, port=door.port, lock="governance")
    return S3(settings, SEEN)


@asynccontextmanager
async def locking(folder: Path, store: S3) -> AsyncIterator[tuple[Customer, Log]]:
    """Run the job for one customer."""
    said = Log()
    async with StorageNode(folder / "data", Watch(NOW), objects=store).opened() as acme:
        running = asyncio.create_task(LockJob({"acme": acme}, said).run())  # type: ignore[arg-type]
        try:
            yield acme, said
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the job compare all locks at every look."""
    monkeypatch.setattr(lock_job, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(lock_job, "ALL_SECONDS", 0.05)
    monkeypatch.setattr(lock_job, "REST", 0)


async def over(acme: Customer) -> CallRow:
    """Record a call that is over, as the indexer writes it."""
    row = await record(acme, ended=NOW)
    await acme.retention.refresh()
    return row


def upload(acme: Customer, day: int = 0) -> None:
    assert isinstance(acme.vault, ObjectVault)
    for ref in acme.vault.waiting():
        acme.vault.upload(ref, day)


def locks(acme: Customer, store: S3) -> set[tuple[int, bool]]:
    """Return day and hold of every object, as the store says, compared with the pointers."""
    assert isinstance(acme.vault, ObjectVault)
    found = set()
    for ref in acme.vault.walk():
        pointer = acme.vault.pointer(ref)
        if pointer is None:
            continue
        key = store.settings.prefix + str(acme.vault.object_of(ref, pointer))
        head = client(store.settings).head_object(Bucket=LOCKED, Key=key)
        date = head.get("ObjectLockRetainUntilDate")
        day = 0 if date is None else (date - EPOCH).days
        assert pointer.locked <= day
        found.add((pointer.locked, head.get("ObjectLockLegalHoldStatus") == "ON"))
    return found


async def locked_as(acme: Customer, store: S3, wanted: set[tuple[int, bool]]) -> bool:
    return await asyncio.to_thread(locks, acme, store) == wanted


def test_a_lock_ends_on_the_day_after_a_call_is_due() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    today = day_of(noon)
    assert lock_day(datetime(2026, 3, 1, 23, 59, tzinfo=UTC), noon) == today + 1
    assert lock_day(datetime(2026, 3, 2, tzinfo=UTC), noon) == today + 2
    assert lock_day(datetime(2026, 2, 28, 23, tzinfo=UTC), noon) == 0, "it is due, and soon erased"
    forever = EPOCH + timedelta(days=lock_day(None, noon))
    assert forever == datetime(2028, 1, 1, tzinfo=UTC)


async def test_locks_are_set_extended_and_never_shortened(tmp_path: Path, store: S3) -> None:
    async with locking(tmp_path, store) as (acme, log):
        await over(acme)
        await asyncio.to_thread(upload, acme)
        await until(lambda: locked_as(acme, store, {(DUE, False)}))
        for days, then in ((200, DUE + 20), (100, DUE + 20), (201, DUE + 21)):
            await acme.rules.put((), default_days=days, by="admin")
            await acme.retention.refresh()
            await until(lambda then=then: locked_as(acme, store, {(then, False)}))  # type: ignore[misc]
            await asyncio.sleep(0.3)
            assert locks(acme, store) == {(then, False)}
        assert log.lines == []


async def test_a_live_call_is_locked_when_it_is_over(tmp_path: Path, store: S3) -> None:
    async with locking(tmp_path, store) as (acme, _):
        row = await record(acme, state=CallState.RECORDING, ended=NOW)
        for part in ("c1", "m1"):
            acme.vault.finish(row.id, row.leaf, part)
        await asyncio.to_thread(upload, acme)
        await asyncio.sleep(0.3)
        assert locks(acme, store) == {(0, False)}


async def test_a_legal_hold_is_set_and_ended_in_the_store(tmp_path: Path, store: S3) -> None:
    async with locking(tmp_path, store) as (acme, log):
        row = await over(acme)
        await acme.holds.put(row.id, "court", "paula")
        await asyncio.to_thread(upload, acme, DUE)
        await until(lambda: locked_as(acme, store, {(DUE, True)}))
        await acme.holds.remove(row.id)
        await until(lambda: locked_as(acme, store, {(DUE, False)}))
        assert log.lines == []


async def test_a_part_that_cannot_be_locked_delays_no_others(
    tmp_path: Path, store: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with locking(tmp_path, store) as (acme, log):
        bad = (await over(acme)).id
        real = store.lock

        def refuse(name: str, until: datetime) -> None:
            if bad in name:
                raise StoreAway("refused")
            real(name, until)

        monkeypatch.setattr(store, "lock", refuse)
        for _ in range(2):
            await over(acme)
        await asyncio.to_thread(upload, acme)
        await until(lambda: sorted(days(acme)) == [0, 0, DUE, DUE, DUE, DUE] and log.lines == ["store.lock_failed"])
        monkeypatch.undo()
        await until(lambda: set(days(acme)) == {DUE})


def days(acme: Customer) -> list[int]:
    """Return the day of each lock, as the pointers say."""
    assert isinstance(acme.vault, ObjectVault)
    return [pointer.locked for ref in acme.vault.walk() if (pointer := acme.vault.pointer(ref))]


async def test_a_store_that_refuses_is_reported_once_and_asked_again(tmp_path: Path, store: S3, door: Proxy) -> None:
    async with locking(tmp_path, store) as (acme, log):
        row = await over(acme)
        await asyncio.to_thread(upload, acme)
        door.play(always="403")
        await acme.holds.put(row.id, "court", "paula")
        await until(lambda: log.lines)
        await asyncio.sleep(0.5)
        door.play()
        await until(lambda: locked_as(acme, store, {(DUE, True)}))
        assert log.lines == ["store.lock_failed"]
