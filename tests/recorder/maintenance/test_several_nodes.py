"""Jobs of two nodes on one database do each thing once; what one recorded, the other plays, exports and verifies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from recorder.config.model import Retention
from recorder.exports.render_client import RenderFailed
from recorder.exports.render_sources import caveat, media_parts
from recorder.maintenance import poll_job, retention_job, verify
from recorder.maintenance.directory_job import DirectoryJob
from recorder.maintenance.poll_job import PollJob
from recorder.maintenance.purge_job import PurgeJob
from recorder.maintenance.retention_job import RetentionJob
from recorder.maintenance.verify import Report, verify_customer
from recorder.persist import call_list
from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer
from storage.database.schema import erasures, job_leases, nodes
from storage.directory.user import Person
from storage.exports.exports import ExportState, Request
from storage.journal.journal import FILE_NAME as PAPERS
from storage.nodes import present
from storage.objects.s3 import S3
from storage.vault.object_vault import ObjectVault
from tests.daemon.object_stores import Server
from tests.in_process.shared_keys import Stop, caught_up, not_live, settled
from tests.in_process.storage_node import StorageNode, permit, record
from tests.recorder.export_jobs import FakeRenderer, job_of
from tests.recorder.job_parts import Parts

pytestmark = pytest.mark.system
Two = tuple[Customer, Customer]
LONG_AGO = datetime.now(UTC) - timedelta(days=200)
OFTEN = Retention(sweep_seconds=1, brake_percent=100)
ANY_CALL: dict[str, Any] = {"party": None, "since": None, "until": None, "state": None}


@pytest.fixture
def first_node(tmp_path: Path, postgresql: str, object_servers: dict[str, Server], prefix: str) -> StorageNode:
    """The first of several nodes, with an object store and the time of today."""
    store = S3(object_servers["moto"].settings(prefix=prefix))
    made = StorageNode(tmp_path / "data1", database=postgresql, objects=store, number=1)
    made.watch.at = datetime.now(UTC)
    return made


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_job, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(poll_job, "LOOK_FOR_OTHERS_SECONDS", 0.1)
    monkeypatch.setattr(poll_job, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(present, "KNOWN_SECONDS", -1.0)
    monkeypatch.setattr(verify, "GRACE_SECONDS", 0.0)


@asynccontextmanager
async def at_work(acme: Customer, folder: Path, jobs: Callable[[Parts], Any]) -> Any:
    """Let jobs work for a node."""
    parts = Parts(folder, acme)
    for job in jobs(parts):
        await job.run()
    try:
        yield parts
    finally:
        await parts.tasks.close()
        assert parts.failed == []


@asynccontextmanager
async def following(*both: Customer, stop: Stop = not_live) -> AsyncIterator[None]:
    """Let nodes that hold the keys together follow each other's cuts, as they do every second; `stop` ends a call."""

    async def follow() -> None:
        while True:
            await caught_up(*both, stop=stop)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def retention(stop: Any = None, terms: Retention = OFTEN) -> Callable[[Parts], list[RetentionJob | PollJob]]:
    def made(node: Parts) -> list[RetentionJob | PollJob]:
        settings: Any = SimpleNamespace(retention=terms, node=SimpleNamespace(runtime_dir=node.folder))
        job = RetentionJob(node.customers, node.tasks, node.log, node.incidents, node.metrics, settings, stop)
        return [job, PollJob(node.customers, node.tasks, node.log, node.indexer.note)]

    return made


def upload(acme: Customer) -> None:
    assert isinstance(acme.vault, ObjectVault)
    for ref in acme.vault.waiting():
        assert acme.vault.upload(ref)


async def recorded(acme: Customer, **more: Any) -> CallRow:
    """Record a call whose row says how large it is, and that somebody spoke."""
    row = await record(acme, **more)
    size = sum(acme.vault.size_of(ref) for ref in acme.vault.parts(row.id, row.leaf))
    details: Any = {**row.details, "streams": [{"label": "1", "media": "audio", "packets": 9}]}
    await acme.calls.put([replace(row, size_bytes=size, details=details)], [()])
    found = await acme.calls.get(row.id)
    assert found is not None
    return found


async def set_node(acme: Customer, number: int, **values: Any) -> None:
    async with acme.database.writing() as connection:
        await connection.execute(nodes.update().where(nodes.c.node == number).values(**values))


async def count(acme: Customer, *conditions: Any) -> int:
    async with acme.database.reading() as connection:
        return int(await connection.scalar(sa.select(sa.func.count()).select_from(erasures).where(*conditions)) or 0)


# --- retention and erasure -----------------------------------------------------------------------------------------


async def test_two_nodes_file_due_calls_once_and_do_every_request(two_nodes: Two, tmp_path: Path) -> None:
    one, other = two_nodes
    due = [await record(acme, ended=LONG_AGO) for acme in two_nodes]
    await record(one, ended=datetime.now(UTC))
    wanted = await record(one, ended=datetime.now(UTC))
    jobs = at_work(one, tmp_path, retention()), at_work(other, tmp_path, retention())
    async with following(one, other), jobs[0] as first, jobs[1] as second:
        await first.until(lambda: gone(one, due))
        assert await count(one) == 1
        assert first.log.lines.count("retention.sweep") + second.log.lines.count("retention.sweep") == 1
        await permit(other)
        await other.erasures.file(calls=[wanted.id], reason="x", by="paula")
        await first.until(lambda: gone(one, [wanted]))
        assert await count(one, erasures.c.receipt.is_not(None)) == 2


async def gone(acme: Customer, rows: list[CallRow]) -> bool:
    return not any([await acme.calls.get(row.id) for row in rows]) and await acme.erasures.open() == ()


async def test_another_node_takes_over_when_the_sweeping_one_dies(two_nodes: Two, tmp_path: Path) -> None:
    one, other = two_nodes
    async with at_work(one, tmp_path, retention(terms=Retention(sweep_seconds=3600))) as first:
        await first.until(lambda: swept(one))
    row = await record(one, ended=LONG_AGO)
    async with following(one, other), at_work(other, tmp_path, retention()) as second:
        await asyncio.sleep(1.5)
        assert await other.calls.get(row.id)  # it was swept within the hour
        async with one.database.writing() as connection:
            await connection.execute(job_leases.update().values(until=0))
        await second.until(lambda: gone(other, [row]))


async def swept(acme: Customer) -> bool:
    async with acme.database.reading() as connection:
        asked = sa.select(job_leases.c.until).where(job_leases.c.job == "retention")
        return (await connection.scalar(asked) or 0) > datetime.now(UTC).timestamp() * 1e6 + 1e9


async def test_nothing_is_due_while_node_and_database_clocks_differ(
    two_nodes: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = two_nodes
    row = await record(one, ended=LONG_AGO)
    ahead = datetime.now(UTC) + timedelta(days=900)
    monkeypatch.setattr(RetentionJob, "now", lambda self: ahead)
    async with at_work(one, tmp_path, retention()) as first:
        await first.until(lambda: "retention.clock" in first.log.lines)
        await asyncio.sleep(0.5)
        assert first.log.lines.count("retention.clock") == 1
        assert await count(one) == 0 and await one.calls.get(row.id)


async def test_a_live_call_is_ended_by_its_own_node_and_then_erased(two_nodes: Two, tmp_path: Path) -> None:
    one, other = two_nodes
    row = await record(other, state=CallState.RECORDING)
    ended: list[str] = []

    async def stop(call: str) -> None:
        ended.append(call)
        assert other.keys.keeps(row.leaf)
        for ref in other.vault.left_open():
            other.vault.finish(ref.call, ref.leaf, ref.part)
        await other.calls.put([replace(row, state=CallState.COMPLETE, ended_at=datetime.now(UTC))], [()])

    async def nothing(call: str) -> None:
        raise AssertionError("it is not live here")

    await permit(one)
    await one.erasures.file(calls=[row.id], reason="x", by="paula")
    async with following(one, other, stop=stop), at_work(one, tmp_path, retention(nothing)) as first:
        await first.until(lambda: gone(one, [row]))
    assert ended == [row.id]
    assert not all(acme.keys.keeps(row.leaf) for acme in two_nodes)


async def test_one_node_purges_users_once_all_calls_are_indexed(
    two_nodes: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_nodes
    monkeypatch.setattr("recorder.maintenance.purge_job.SETTLE_SECONDS", 0.3)
    jobs = []
    for acme in two_nodes:
        parts = Parts(tmp_path, acme)
        jobs.append(PurgeJob(parts.customers, parts.tasks, parts.log, parts.indexer))
    for people in ([Person("Mira", account_name="mira", numbers=("+4930123456",))], []):
        await one.users.carry_out(await one.users.plan(people, "csv", whole=True))
    await one.user_matcher.load()
    await one.user_matcher.settle()
    assert await jobs[0].turn(one) == 0  # node 2 has not said that its calls are in the index
    assert await jobs[1].turn(other) == 0  # it is the turn of node 1
    await set_node(one, 2, indexed_until=int((datetime.now(UTC) + timedelta(minutes=1)).timestamp() * 1e6))
    assert await jobs[0].turn(one) == 1 and await one.users.count() == 0


async def test_one_node_synchronises_the_directory_until_it_fails(
    two_nodes: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory: Any = SimpleNamespace(customer="acme", sync_minutes=60)
    done: list[int] = []

    async def turn(acme: Customer, *, well: bool) -> bool:
        parts, settings = Parts(tmp_path, acme), SimpleNamespace(directories=(), source=None)
        job = DirectoryJob(parts.customers, parts.tasks, parts.log, parts.incidents, settings)  # type: ignore[arg-type]

        async def synchronise(self: DirectoryJob, directory: Any) -> bool:
            done.append(acme.keys.node)
            return well

        monkeypatch.setattr(DirectoryJob, "turn", synchronise)
        return await job._in_turn(directory)

    one, other = two_nodes
    assert not await turn(one, well=False)
    assert await turn(other, well=True) and await turn(one, well=True) and await turn(other, well=True)
    assert done == [1, 2, 2]


# --- playing, exporting, verifying ---------------------------------------------------------------------------------


async def played(acme: Customer, row: CallRow) -> int:
    async with media_parts(acme, row) as parts:
        return len(parts)


async def test_a_call_of_another_node_is_played_once_it_is_uploaded(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await recorded(other)
    with pytest.raises(RenderFailed, match="node rec2 recorded the call and has not uploaded all of it yet"):
        await played(one, row)
    upload(other)
    assert await played(one, row) == await played(other, row) == 1
    assert caveat(one, row, {}) is None


async def test_a_call_of_an_absent_node_plays_as_far_as_uploaded(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await recorded(other)
    await set_node(one, 2, seen=0)
    with pytest.raises(RenderFailed, match=r"node rec2 .* is away"):
        await played(one, row)
    for ref in other.vault.parts(row.id, row.leaf):
        if ref.part == "m1":
            assert isinstance(other.vault, ObjectVault) and other.vault.upload(ref)
    assert await played(one, row) == 1 and "missing" in str(caveat(one, row, {}))


async def test_a_live_call_names_the_node_that_records_it(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await record(other, state=CallState.RECORDING)
    seen = await one.calls.get(row.id)
    assert seen is not None
    with pytest.raises(RenderFailed, match="the call is live on node rec2"):
        await played(one, seen)


async def test_lists_of_commands_name_the_node_of_each_call(two_nodes: Two) -> None:
    one, _other = two_nodes
    rows = [await record(acme) for acme in two_nodes]
    await set_node(one, 2, seen=0)
    told = {each["id"]: (each["node"], each["node_state"]) for each in await call_list.find(one, ANY_CALL, 9)}
    assert told == {rows[0].id: ("rec1", "active"), rows[1].id: ("rec2", "away")}


async def verified(acme: Customer, *calls: str) -> Report:
    return await verify_customer(acme, calls, lambda units: None)


def kinds(report: Report) -> set[tuple[str, str]]:
    return {(each["call"], each["kind"]) for each in report.defects if each["part"] != PAPERS}


async def test_verify_checks_uploads_and_names_nodes_with_the_rest(two_nodes: Two) -> None:
    one, other = two_nodes
    rows = [await recorded(other), await recorded(one)]
    await other.attachments.add(rows[1].id, "chat", "application/json", b"{}", "paula")
    live = await record(other, state=CallState.RECORDING)
    report = await verified(one)
    assert kinds(report) == set()
    assert {(each["call"], each["part"], each["node"]) for each in report.elsewhere} == {
        (rows[0].id, "", "rec2"), (rows[1].id, "a2001", "rec2"), (live.id, "", "rec2"),
    }  # fmt: skip
    upload(other)
    report = await verified(one)
    assert (kinds(report), [each["call"] for each in report.elsewhere]) == (set(), [live.id])
    assert (report.calls, report.parts) == (3, 5)


async def test_verify_finds_damage_in_what_another_node_uploaded(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await recorded(other)
    assert isinstance(other.vault, ObjectVault)
    for ref in other.vault.waiting():
        if ref.part == "m1":
            ref.path.chmod(0o600)
            ref.path.write_bytes(ref.path.read_bytes()[:-1] + b"?")
        assert other.vault.upload(ref)
    found = await verified(one)
    assert [(each["call"], each["part"]) for each in found.defects] == [(row.id, "m1")]


async def test_what_a_retired_node_took_with_it_is_missing(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await recorded(other)
    await set_node(one, 2, state="retired")
    report = await verified(one)
    assert kinds(report) == {(row.id, "call without recording")} and report.elsewhere == []


async def test_an_object_that_no_call_of_any_node_has_is_reported(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await recorded(other)
    upload(other)
    await other.calls.remove([row.id])
    assert kinds(await verified(one)) == {(row.id, "recording that the index lacks")}
    assert isinstance(other.vault, ObjectVault)
    (name, *_) = [each.name for each in other.vault.objects.listing("acme/")]
    await cut(two_nodes, row.leaf)
    other.vault.remove_objects([(row.id, row.leaf)])
    other.vault.objects.put(name, b"an upload that was cut off lands late")
    assert kinds(await verified(one)) == {(row.id, "object that belongs to no part")}


async def cut(two_nodes: Any, leaf: int) -> None:
    """Cut a leaf at both nodes."""
    await two_nodes[0].cutter.cut(leaf)
    await settled(*two_nodes)


async def test_exports_run_where_asked_and_fail_if_that_node_retires(two_nodes: Two, tmp_path: Path) -> None:
    one, _other = two_nodes
    await record(one)
    asked = [await acme.exports.file(Request("json", ("id",), "x", calls=()), "paula") for acme in two_nodes]

    async def state(at: int) -> ExportState:
        found = await one.exports.get(asked[at].id)
        assert found is not None
        return found.state

    job = job_of(Parts(tmp_path, one), FakeRenderer())
    assert await job._round(one)
    assert [await state(0), await state(1)] == [ExportState.DONE, ExportState.RUNNING]
    await set_node(one, 2, state="retired")
    assert await job._round(one)
    assert await state(1) is ExportState.FAILED
