"""The clockwork goes on with open erasures at start, sweeps, waits for holds, and tries again what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.config.model import Retention
from recorder.maintenance.retention_job import RetentionJob, stopper
from recorder.observe.incidents import Incidents
from recorder.runtime.tasks import Tasks
from recorder.runtime.trusted_clock import WallClock, readings
from storage.calls.call_row import CallState
from storage.customer.customers import Customer
from storage.erasure.erasure_rows import State
from storage.erasure.erasures import StopLive
from storage.errors import StorageError
from tests.in_process.storage_node import StorageNode, Watch, permit, record

EVERY_SECOND = Retention(sweep_seconds=1, brake_percent=100)
LONG_AGO = datetime.now(UTC) - timedelta(days=200)


@dataclass
class Log:
    lines: list[str] = field(default_factory=list)

    def info(self, event: str, **facts: Any) -> None:
        self.lines.append(event)

    def fault(self, event: str, problem: BaseException, **facts: Any) -> None:
        self.lines.append(event)


@dataclass
class Parts:
    """What the job takes."""

    customers: dict[str, Customer]
    runtime_dir: Path
    settings: Any = field(default_factory=lambda: SimpleNamespace(retention=EVERY_SECOND))
    log: Log = field(default_factory=Log)
    incidents: Incidents = field(default_factory=lambda: Incidents(lambda: datetime.now(UTC)))
    failed: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tasks = Tasks(lambda name, error: self.failed.append(error))
        self.settings.node = SimpleNamespace(runtime_dir=self.runtime_dir)

    def job(self, stop_live: StopLive | None = None, clock: WallClock | None = None) -> RetentionJob:
        parts = (self.customers, self.tasks, self.log, self.incidents, self.settings)
        return RetentionJob(*parts, stop_live, clock)  # type: ignore[arg-type]  # as much as it uses


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await true():
            await asyncio.sleep(0.01)


def tell(tmp_path: Path, what: Callable[[Parts, Customer], Awaitable[None]]) -> None:
    async def run() -> None:
        storage_node = StorageNode(tmp_path / "data", watch=Watch(datetime.now(UTC)))
        acme = await storage_node.open()
        node = Parts({"acme": acme}, tmp_path)
        try:
            await what(node, acme)
        finally:
            await node.tasks.close()
            await acme.close()
        assert node.failed == []

    asyncio.run(run())


async def gone(acme: Customer, *rows: Any) -> bool:
    return not any([await acme.calls.get(row.id) for row in rows]) and await acme.erasures.open() == ()


def test_open_erasures_and_due_calls_are_done_at_start(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer) -> None:
        now = datetime.now(UTC)
        asked, due = await record(acme, ended=now), await record(acme, ended=LONG_AGO)
        stays = await record(acme, ended=now)
        await permit(acme)
        await acme.erasures.file(calls=[asked.id], reason="x", by="paula")
        await node.job().run()
        await until(lambda: gone(acme, asked, due))
        assert await acme.calls.get(stays.id) and "retention.sweep" in node.log.lines
        assert node.tasks.names() == ["retention"]

    tell(tmp_path, story)


def test_an_erasure_runs_at_once_and_waits_for_a_hold(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer) -> None:
        node.settings.retention = Retention(sweep_seconds=3600, brake_percent=5)
        await node.job().run()
        row = await record(acme, ended=datetime.now(UTC))
        await permit(acme)
        await acme.holds.put(row.id, "court", "paula")
        filed = await acme.erasures.file(party="Mira Okafor", reason="x", by="paula")

        async def waits() -> bool:
            found = await acme.erasures.get(filed.id)
            return found is not None and found.state == State.WAITING

        await until(waits)
        await acme.holds.remove(row.id)
        await until(lambda: gone(acme, row))

    tell(tmp_path, story)


def test_the_brake_is_an_incident_and_erases_nothing(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer) -> None:
        node.settings.retention = Retention(sweep_seconds=1, brake_percent=5)
        rows = [await record(acme, ended=LONG_AGO) for _ in range(3)]
        await node.job().run()

        async def told() -> bool:
            return node.log.lines.count("retention.brake") >= 2

        await until(told)
        assert all([await acme.calls.get(row.id) for row in rows])
        assert [i["kind"] for i in node.incidents.of("acme")] == ["retention-brake"]
        assert "retention.brake" in [entry["action"] for entry in acme.audit.read().items]

    tell(tmp_path, story)


def test_new_rules_show_in_every_call(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer) -> None:
        node.settings.retention = Retention(sweep_seconds=3600, brake_percent=5)
        row = await record(acme, ended=datetime.now(UTC))
        await node.job().run()

        async def keeps(days: int | None) -> bool:
            found = await acme.calls.get(row.id)
            wanted = None if days is None or not row.ended_at else row.ended_at + timedelta(days)
            return found is not None and found.erase_after == wanted

        await until(lambda: keeps(180))
        await acme.rules.put([], by="ada", default_days=7)
        await until(lambda: keeps(7))

    tell(tmp_path, story)


def test_rules_changed_during_an_assignment_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes of the rules, the second while the first is being carried out."""

    async def story(node: Parts, acme: Customer) -> None:
        node.settings.retention = Retention(sweep_seconds=3600, brake_percent=5)
        row = await record(acme, ended=datetime.now(UTC))
        refresh, begun, second = acme.retention.refresh, asyncio.Event(), asyncio.Event()

        async def refreshed_then_changed() -> Any:
            done = await refresh()
            begun.set()
            await second.wait()
            return done

        monkeypatch.setattr(acme.retention, "refresh", refreshed_then_changed)
        await node.job().run()
        async with asyncio.timeout(20):
            await begun.wait()
        await acme.rules.put([], by="ada", default_days=7)
        second.set()

        async def keeps_seven_days() -> bool:
            found = await acme.calls.get(row.id)
            return found is not None and found.erase_after == datetime.fromisoformat(str(row.ended_at)) + timedelta(7)

        await until(keeps_seven_days)

    tell(tmp_path, story)


def test_a_failed_erasure_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.maintenance.retention_job.RETRY_SECONDS", 0.05)

    async def story(node: Parts, acme: Customer) -> None:
        live = await record(acme, state=CallState.RECORDING)
        await permit(acme)
        asked: list[str] = []

        async def stop(call: str) -> None:
            asked.append(call)
            if len(asked) == 1:
                raise TimeoutError
            if len(asked) == 2:
                raise StorageError("the disk is full")

        await node.job(stop).run()
        await acme.erasures.file(calls=[live.id], reason="x", by="paula")
        await until(lambda: gone(acme, live))
        assert asked == [live.id] * 3

    tell(tmp_path, story)


def test_a_fault_of_our_own_ends_no_erasing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.maintenance.retention_job.RETRY_SECONDS", 0.05)

    async def story(node: Parts, acme: Customer) -> None:
        call = await record(acme)
        await permit(acme)
        await acme.erasures.file(calls=[call.id], reason="x", by="paula")
        work, tried = acme.erasures.work, []

        async def stumble(stop: object) -> bool:
            tried.append(stop)
            if len(tried) == 1:
                raise LookupError
            return await work()

        monkeypatch.setattr(acme.erasures, "work", stumble)
        await node.job().run()
        await until(lambda: gone(acme, call))
        assert node.log.lines[0] == "retention.failed"

    tell(tmp_path, story)


def test_a_clock_set_ten_years_ahead_erases_nothing(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer) -> None:
        row = await record(acme, ended=datetime.now(UTC))
        wall, passed = readings()
        clock = WallClock(tmp_path / "clock", "boot", wall - timedelta(days=3650), passed)
        job = node.job(clock=clock)
        assert job.now() < wall - timedelta(days=3649)
        await acme.rules.put([], by="ada", default_days=1)
        await job.run()

        async def refreshed() -> bool:
            found = await acme.calls.get(row.id)
            return found is not None and found.erase_after is not None

        await until(refreshed)
        assert await acme.calls.get(row.id)

    tell(tmp_path, story)


def test_a_clock_that_cannot_be_written_down_ends_no_erasing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: WallClock) -> None:
        raise OSError(28, "no room")

    monkeypatch.setattr(WallClock, "keep", full)

    async def story(node: Parts, acme: Customer) -> None:
        due = await record(acme, ended=LONG_AGO)
        await node.job().run()
        await until(lambda: gone(acme, due))
        assert "retention.failed" in node.log.lines

    tell(tmp_path, story)


def test_stopping_hangs_up_and_waits_for_the_end() -> None:
    live: dict[str, Any] = {"c": "the call"}
    done: list[Any] = []

    class Executor:
        def guarded(self, call: Any, event: Any) -> None:
            done.append((call, event.reason, event.interrupted))
            asyncio.get_running_loop().call_later(0.05, live.clear)

    found, executor = SimpleNamespace(by_id=live.get), Executor()
    stop = stopper(found, executor, lambda: done.append("flushed"))  # type: ignore[arg-type]  # what it uses of them

    async def story() -> None:
        await stop("c")
        assert live == {} and done == [("the call", "erased", False), "flushed"]
        await stop("unknown")

    asyncio.run(story())


def test_a_mostly_outdated_journal_is_compacted_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.journal.compaction.LEAST", 0)

    async def what(node: Parts, acme: Customer) -> None:
        row = await record(acme)
        for number in range(30):
            await acme.holds.put(row.id, f"reason {number}", "paula")
        before = acme.journal.size
        await node.job().run()

        async def smaller() -> bool:
            return "journal.compacted" in node.log.lines

        await until(smaller)
        assert acme.journal.size < before / 2
        assert (await acme.holds.get(row.id)).reason == "reason 29"  # type: ignore[union-attr]  # it is there

    tell(tmp_path, what)
