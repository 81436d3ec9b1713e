"""Every minute the log's end is signed and sent to witnesses; one that was away gets the newest later."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from recorder.maintenance import audit_job
from recorder.maintenance.audit_job import AuditJob
from recorder.maintenance.proof_check import witnessed
from recorder.persist.indexer import NO_THREAD
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act
from storage.customer.customers import KEYS, Customer, CustomerSettings
from tests.in_process.storage_node import StorageNode
from tests.recorder.maintenance.conftest import Parts

pytestmark = pytest.mark.anyio


@pytest.fixture
def job(node: Parts) -> AuditJob:
    witnesses = (f"file:{node.folder}/outside/marks.jsonl", f"syslog:{node.folder}/none")
    return AuditJob(node.customers, node.log, node.incidents, witnesses)


def act(customer: Customer) -> None:
    customer.audit.append(Act("ada", "admin", "call.view")).result()


def signed(customer: Customer) -> int:
    """Count the checkpoints beside the log."""
    beside = customer.folder / "audit.checkpoints"
    return len(beside.read_bytes().splitlines()) if beside.is_file() else 0


async def test_a_grown_log_is_signed_and_witnessed_once(node: Parts, acme: Customer, job: AuditJob) -> None:
    marks = node.folder / "outside" / "marks.jsonl"
    job.round()
    assert signed(acme) == 0
    act(acme)
    job.report(job.round())
    assert signed(acme) == 1
    assert {reason for _, reason in node.kinds()} == {"file", "syslog"}
    marks.parent.mkdir()
    act(acme)
    for _ in range(2):
        job.round()
        (told,) = witnessed(marks.read_bytes())
        assert told.head.n == 2 and told.genuine(acme.audit.public_key, "acme")
    assert signed(acme) == 2


async def test_old_checkpoints_are_thinned_daily(job: AuditJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_job, "THIN_ROUNDS", 3)
    thinned: list[str] = []
    monkeypatch.setattr(Audit, "thin", lambda self: thinned.append(self.customer))
    assert [(job.round(), len(thinned))[1] for _ in range(7)] == [1, 1, 1, 2, 2, 2, 3]


async def test_a_customer_whose_log_fails_hinders_no_other(
    tmp_path: Path, node: Parts, acme: Customer, job: AuditJob
) -> None:
    globex = await StorageNode(tmp_path / "second", settings=CustomerSettings("globex")).open()
    node.customers["globex"] = globex
    beside, mark = acme.folder / "audit.checkpoints", tmp_path / "data" / KEYS / "acme.audit"
    act(acme)
    act(globex)
    beside.mkdir()
    failures = [failure for failure in job.round() if not failure[1]]
    assert [customer for customer, _, _ in failures] == ["acme"] and signed(globex) == 1
    job.report(failures)
    assert node.log.lines == ["audit.checkpoint_failed"]
    beside.rmdir()
    assert [customer for customer, witness, _ in job.round() if not witness] == [] and signed(acme) == 1
    act(acme)
    act(globex)
    os.rename(mark, tmp_path / "mark")
    mark.mkdir()  # as after a restore with a wrong owner: there, and not to be read
    assert [customer for customer, witness, _ in job.round() if not witness] == ["acme"] and signed(globex) == 2
    await globex.close()


async def test_it_goes_on_for_ever_even_without_a_thread(
    node: Parts, acme: Customer, job: AuditJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_job, "EVERY_SECONDS", 0.01)
    tried: list[int] = []

    def refused() -> list[audit_job.Failure]:
        tried.append(1)
        if len(tried) < 3:
            raise RuntimeError(NO_THREAD)
        return AuditJob.round(job)

    monkeypatch.setattr(job, "round", refused)
    node.tasks.start(job.run(), "audit")
    for count in (1, 2):
        act(acme)
        async with asyncio.timeout(20):
            while signed(acme) < count:
                await asyncio.sleep(0.01)
