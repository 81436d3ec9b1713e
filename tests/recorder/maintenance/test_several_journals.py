"""What commands and jobs do about journals and audit logs where several nodes share a database."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.maintenance.audit_copy_job import AuditCopyJob
from recorder.maintenance.cli_audit import accept, note
from recorder.maintenance.journal_loss import accept_loss
from recorder.maintenance.proof_check import prove
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.errors import LinesMissing, StorageError
from tests.daemon.postgresql import cluster
from tests.in_process.command_line import CONFIG, CUSTOMER
from tests.in_process.storage_node import permit
from tests.in_process.storage_nodes import NumberedNode, failed_over, first_node, joined, taken_copy
from tests.recorder.job_parts import Log

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a private PostgreSQL server."""
    with cluster() as one:
        one.start()
        yield one.url


@pytest.fixture
def one(tmp_path: Path, server: str) -> NumberedNode:
    """The first node, which was a machine of its own."""
    node = asyncio.run(first_node(tmp_path, server, NumberedNode))
    node.number = 1
    return node


@pytest.fixture
def two(one: NumberedNode) -> NumberedNode:
    """A node that has joined."""
    return joined(one, 2)


def settings(node: NumberedNode) -> Settings:
    """Return the configuration of a node."""
    folder = node.data.parent
    (folder / "run").mkdir(exist_ok=True)
    (folder / "root.key").write_bytes(bytes(range(32)))
    (folder / "root.key").chmod(0o600)
    config = folder / "recorder.toml"
    config.write_text(CONFIG.format(folder=folder, root="root.key") + CUSTOMER.format(name="acme"))
    found = load(config)
    mine = replace(found.node, number=node.number, name=node.name, data_dir=node.data)
    return replace(found, node=mine, storage=replace(found.storage, database=node.database))


def proven(node: NumberedNode, *marks: Any) -> dict[str, Any]:
    """Check the logs as `recorder audit verify` does."""
    found = settings(node)
    return prove(found, found.customers[0], marks)


async def write(node: NumberedNode, entries: int) -> Any:
    """Open a node, write entries, copy them; return a checkpoint that a witness gets."""
    async with node.opened() as acme:
        for _ in range(entries):
            await asyncio.wrap_future(acme.audit.append(Act("alice", "listener", "call.view")))
        job = AuditCopyJob({"acme": acme}, Log())  # type: ignore[arg-type]  # a log that keeps its events
        await job.copy(acme)
        return acme.audit.checkpoint()


def test_verify_checks_the_own_log_and_the_copies_of_all_others(one: NumberedNode, two: NumberedNode) -> None:
    first, second = asyncio.run(write(one, 3)), asyncio.run(write(two, 2))
    found = proven(one, first, second)
    assert (found["ok"], found["entries"], found["fault"]) == (True, 4, None)
    (copy,) = found["nodes"]
    assert (copy["node"], copy["number"], copy["ok"], copy["entries"], copy["proven"]) == ("rec2", 2, True, 3, 3)
    assert [each["node"] for each in proven(two, first, second)["nodes"]] == ["rec1"]

    async def tamper() -> None:
        async with two.opened() as acme, acme.database.writing() as connection:
            await connection.execute(sa.text("DELETE FROM audit_copies WHERE node = 2 AND n = 2"))

    asyncio.run(tamper())
    found = proven(one)
    assert (found["ok"], found["fault"], found["nodes"][0]["bad"]) == (False, None, 2)
    assert proven(two)["ok"], "its own log is whole"
    found = proven(replace(one, database="postgresql+asyncpg://rec@/none_{customer}?host=/nowhere"))
    assert not found["ok"] and "cannot be read" in found["fault"] and found["entries"] == 4


def test_a_log_rolled_back_with_its_keys_is_found_and_accepted(one: NumberedNode) -> None:
    asyncio.run(write(one, 3))
    shutil.copytree(one.data, one.data.with_name("old"))
    asyncio.run(write(one, 2))
    shutil.rmtree(one.data)
    shutil.copytree(one.data.with_name("old"), one.data)
    found = proven(one)
    assert not found["ok"] and "a checkpoint names entry 6" in found["fault"]
    assert accept(settings(one), "acme", "a disk failed", []) == 5
    assert proven(one)["ok"]
    asyncio.run(write(one, 1))
    assert proven(one)["ok"]


def test_a_command_writes_to_the_log_of_its_node(two: NumberedNode) -> None:
    asyncio.run(write(two, 1))
    note(settings(two), "acme", "token.create")
    acts = asyncio.run(acts_of(two))
    assert [act["action"] for act in acts] == ["audit.node", "call.view", "token.create"]


async def acts_of(node: NumberedNode) -> list[dict[str, Any]]:
    """Return the entries of a node's own log, oldest first."""
    async with node.opened() as acme:
        return list(acme.audit.read().items)[::-1]


def test_accepting_lines_lost_with_a_disk_is_audited(one: NumberedNode, two: NumberedNode) -> None:
    async def lose() -> None:
        async with one.opened() as first, two.opened() as second:
            copy = await taken_copy(one)
            await permit(second)
            await permit(second)
            assert first.journal.shared is not None
            await first.journal.shared.watch(first.database)
        await failed_over(one, copy)
        shutil.rmtree(two.data)
        with pytest.raises(LinesMissing, match=r"lines 1 to 2 of node rec2, number 2"):
            await one.open()

    asyncio.run(lose())
    found = settings(one)
    assert asyncio.run(accept_loss(found, found.customers[0], 2, "the disks failed")) == (1, 2)
    assert asyncio.run(accept_loss(found, found.customers[0], 2, "the disks failed")) is None
    last = asyncio.run(acts_of(one))[-1]
    assert (last["action"], last["reason"]) == ("journal.accept", "node 2, lines 1 to 2: the disks failed")


async def test_a_failure_to_copy_is_reported_once(one: NumberedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with one.opened() as acme:
        log = Log()
        job = AuditCopyJob({"acme": acme}, log)  # type: ignore[arg-type]  # a log that keeps its events
        await fail_twice(job, acme)
        assert log.lines == ["audit.copy_failed"]
        await job.copy(acme)
        assert log.lines == ["audit.copy_failed"] and acme.audit_copies is not None
        assert len((await acme.audit_copies.read()).items) == 2
        await fail_twice(job, acme)
        assert log.lines == ["audit.copy_failed"] * 2


async def fail_twice(job: AuditCopyJob, acme: Customer) -> None:
    """Copy while the database is closed."""
    await asyncio.wrap_future(acme.audit.append(Act("alice", "listener", "call.view")))
    acme.database.refuse()
    for _ in range(2):
        await job.copy(acme)
    with pytest.raises(StorageError):
        assert acme.audit_copies is not None
        await acme.audit_copies.push()
    acme.database.serve()
