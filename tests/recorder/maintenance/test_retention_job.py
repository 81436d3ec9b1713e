"""The job continues open erasures at start, sweeps, waits for holds, and tries again what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from math import isnan
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.config.model import Retention
from recorder.maintenance import retention_job
from recorder.maintenance.retention_job import RetentionJob, stopper
from recorder.maintenance.retention_preview import preview_retention
from recorder.runtime.trusted_clock import WallClock, readings
from storage.calls.call_row import CallState
from storage.customer.customers import Customer
from storage.erasure.erasure_rows import State
from storage.errors import StorageError
from storage.retention.rules import RuleSpec
from tests.in_process.storage_node import permit, record
from tests.recorder.job_parts import Parts

pytestmark = pytest.mark.anyio
LONG_AGO = datetime.now(UTC) - timedelta(days=200)
SELDOM = Retention(sweep_seconds=3600, brake_percent=5)


def job_of(
    node: Parts,
    retention: Retention = SELDOM,
    stop: Callable[[str], Awaitable[None]] | None = None,
    clock: WallClock | None = None,
) -> RetentionJob:
    settings: Any = SimpleNamespace(retention=retention, node=SimpleNamespace(runtime_dir=node.folder))
    return RetentionJob(node.customers, node.tasks, node.log, node.incidents, node.metrics, settings, stop, clock)


@pytest.fixture
def sweeping(node: Parts) -> RetentionJob:
    return job_of(node, Retention(sweep_seconds=1, brake_percent=100))


def gone(acme: Customer, *rows: Any) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return not any([await acme.calls.get(row.id) for row in rows]) and await acme.erasures.open() == ()

    return look


def kept_for(acme: Customer, row: Any, days: int) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        found = await acme.calls.get(row.id)
        return found is not None and found.erase_after == row.ended_at + timedelta(days)

    return look


async def test_open_erasures_and_due_calls_are_done_at_start(
    node: Parts, acme: Customer, sweeping: RetentionJob
) -> None:
    now = datetime.now(UTC)
    asked, due, stays = [await record(acme, ended=ended) for ended in (now, LONG_AGO, now)]
    await permit(acme)
    await acme.erasures.file(calls=[asked.id], reason="x", by="paula")
    await sweeping.run()
    await node.until(gone(acme, asked, due))
    assert await acme.calls.get(stays.id) and "retention.sweep" in node.log.lines
    assert node.tasks.names() == ["retention"]
    await node.until(lambda: node.sample("recorder_erased_calls_total") == 2)
    await node.until(lambda: 0 <= node.sample("recorder_retention_age_seconds") < 1)


async def test_the_age_of_retention_grows_while_a_sweep_fails(
    node: Parts, acme: Customer, sweeping: RetentionJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(now: datetime, percent: float) -> None:
        raise StorageError("no")

    assert isnan(node.sample("recorder_retention_age_seconds"))
    monkeypatch.setattr(retention_job, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(acme.retention, "sweep", fails)
    await sweeping.run()
    await node.until(lambda: node.log.lines.count("retention.failed") > 3)
    assert node.sample("recorder_retention_age_seconds") > 0.1
    monkeypatch.undo()
    await node.until(lambda: node.sample("recorder_retention_age_seconds") < 0.1)


async def test_an_erasure_runs_at_once_and_waits_for_a_hold(node: Parts, acme: Customer) -> None:
    await job_of(node).run()
    row = await record(acme, ended=datetime.now(UTC))
    await permit(acme)
    await acme.holds.put(row.id, "court", "paula")
    filed = await acme.erasures.file(party="Mira Okafor", reason="x", by="paula")

    async def waits() -> bool:
        found = await acme.erasures.get(filed.id)
        return found is not None and found.state == State.WAITING

    await node.until(waits)
    await acme.holds.remove(row.id)
    await node.until(gone(acme, row))


async def test_the_brake_is_an_incident_and_erases_nothing(node: Parts, acme: Customer) -> None:
    rows = [await record(acme, ended=LONG_AGO) for _ in range(3)]
    await job_of(node, Retention(sweep_seconds=1, brake_percent=5)).run()
    await node.until(lambda: node.log.lines.count("retention.brake") >= 2)
    assert all([await acme.calls.get(row.id) for row in rows])
    assert node.kinds() == [("retention-brake", None)]
    assert "retention.brake" in [entry["action"] for entry in acme.audit.read().items]


async def test_new_rules_show_in_every_call(node: Parts, acme: Customer) -> None:
    row = await record(acme, ended=datetime.now(UTC))
    await job_of(node).run()
    await node.until(kept_for(acme, row, 180))
    await acme.rules.put([], by="ada", default_days=30)
    await node.until(kept_for(acme, row, 30))


async def test_a_failed_erasure_is_tried_again(node: Parts, acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_job, "RETRY_SECONDS", 0.05)
    live = await record(acme, state=CallState.RECORDING)
    await permit(acme)
    asked: list[str] = []
    problems: list[Exception] = [TimeoutError(), StorageError("the disk is full")]
    work, faults = acme.erasures.work, [LookupError()]  # a fault of our own

    async def stop(call: str) -> None:
        asked.append(call)
        if problems:
            raise problems.pop()

    async def stumbling(*stop: Any) -> bool:
        if faults:
            raise faults.pop()
        return await work(*stop)

    monkeypatch.setattr(acme.erasures, "work", stumbling)
    await job_of(node, stop=stop).run()
    await acme.erasures.file(calls=[live.id], reason="x", by="paula")
    await node.until(gone(acme, live))
    assert asked == [live.id] * 3
    assert node.log.lines[0] == "retention.failed"


async def test_a_clock_set_ten_years_ahead_erases_nothing(node: Parts, acme: Customer) -> None:
    row = await record(acme, ended=datetime.now(UTC))
    wall, passed = readings()
    clock = WallClock(node.folder / "clock", "boot", wall - timedelta(days=3650), passed)
    job = job_of(node, Retention(sweep_seconds=1, brake_percent=100), clock=clock)
    assert job.now() < wall - timedelta(days=3649)
    await acme.rules.put([], by="ada", default_days=1)
    await job.run()
    await node.until(kept_for(acme, row, 1))
    assert await acme.calls.get(row.id)


async def test_a_clock_that_cannot_be_saved_stops_no_erasure(
    node: Parts, acme: Customer, sweeping: RetentionJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: WallClock) -> None:
        raise OSError(28, "no room")

    monkeypatch.setattr(WallClock, "keep", full)
    due = await record(acme, ended=LONG_AGO)
    await sweeping.run()
    await node.until(gone(acme, due))
    assert "retention.failed" in node.log.lines


async def test_stopping_hangs_up_and_waits_for_the_end() -> None:
    live: dict[str, Any] = {"c": "the call"}
    done: list[Any] = []

    class Executor:
        def guarded(self, call: Any, event: Any) -> None:
            done.append((call, event.reason, event.interrupted))
            asyncio.get_running_loop().call_later(0.05, live.clear)

        def flush(self) -> None:
            done.append("flushed")

    found, executor = SimpleNamespace(by_id=live.get), Executor()
    stop = stopper(found, executor)  # type: ignore[arg-type]  # what it uses of them
    await stop("c")
    assert live == {} and done == [("the call", "erased", False), "flushed"]
    await stop("unknown")


async def test_a_mostly_outdated_journal_is_compacted_at_start(
    node: Parts, acme: Customer, sweeping: RetentionJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.journal.compaction.LEAST", 0)
    row = await record(acme)
    for number in range(30):
        await acme.holds.put(row.id, f"reason {number}", "paula")
    before = acme.journal.size
    await sweeping.run()
    await node.until(lambda: "journal.compacted" in node.log.lines)
    assert acme.journal.size < before / 2
    hold = await acme.holds.get(row.id)
    assert hold and hold.reason == "reason 29"


async def test_a_preview_names_each_call_and_why(acme: Customer) -> None:
    now = datetime.now(UTC)
    old = await record(acme, ended=LONG_AGO)
    ruled = await record(acme, name="T", number="+4940777888", ended=now - timedelta(days=9))
    rule = (await acme.rules.put([RuleSpec(7, party="040 777888")], by="ada")).rules[0].id
    found, braked = [await preview_retention(acme, now, percent) for percent in (100, 5)]
    assert [(i["id"], i["why"]) for i in found["items"]] == [
        (old.id, "default: kept 180 days from its end"),
        (ruled.id, f"rule {rule}: kept 7 days from its end"),
    ]
    assert (found["calls"], found["brake"], found["asks"]) == (2, False, [])
    assert (braked["items"], braked["brake"], braked["asks"]) == ([], True, found["items"])
