"""Every minute the log's end is signed and told; a witness that was deaf hears the newest later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder.maintenance import audit_job
from recorder.maintenance.audit_job import AuditJob
from recorder.maintenance.proof_check import witnessed
from recorder.persist.indexer import NO_THREAD
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act
from storage.customer.customers import KEYS
from tests.in_process.recorder_node import CONFIG, Stage, stage


def _job(one: Stage) -> AuditJob:
    node = one.node
    return AuditJob(node.customers, node.log, node.incidents, node.settings.audit.witnesses)


def test_a_grown_log_is_signed_and_witnessed_once(tmp_path: Path) -> None:
    marks = tmp_path / "outside" / "marks.jsonl"

    async def story() -> None:
        text = CONFIG + f'[audit]\nwitnesses = ["file:{marks}", "syslog:{tmp_path}/none"]\n'
        async with stage(tmp_path, text) as one:
            acme, job = one.node.customers["acme"], _job(one)
            beside = acme.folder / "audit.checkpoints"
            job.round()
            assert not beside.exists()
            acme.audit.append(Act("ada", "admin", "call.view")).result()
            job.report(job.round())
            assert len(beside.read_bytes().splitlines()) == 1
            kinds = {incident["reason"] for incident in one.node.incidents.of("acme")}
            assert kinds == {"file", "syslog"}
            marks.parent.mkdir()
            acme.audit.append(Act("ada", "admin", "call.play")).result()
            job.round()
            (told,) = witnessed(marks.read_bytes())
            assert told.head.n == 2 and told.genuine(acme.audit.public_key, "acme")
            job.round()
            assert len(witnessed(marks.read_bytes())) == 1, "what was told is not told again"
            assert len(beside.read_bytes().splitlines()) == 2

    asyncio.run(story())


def test_old_checkpoints_are_thinned_daily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_job, "THIN_ROUNDS", 3)

    async def story() -> None:
        async with stage(tmp_path) as one:
            job, thinned = _job(one), list[str]()
            monkeypatch.setattr(Audit, "thin", lambda self: thinned.append(self.customer))
            assert [(job.round(), len(thinned))[1] for _ in range(7)] == [1, 1, 1, 2, 2, 2, 3]

    asyncio.run(story())


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            acme, job = one.node.customers["acme"], _job(one)
            acme.audit.append(Act("ada", "admin", "call.view")).result()
            beside = acme.folder / "audit.checkpoints"
            beside.mkdir()
            failures = job.round()
            assert [(customer, witness) for customer, witness, _ in failures] == [("acme", "")]
            job.report(failures)
            beside.rmdir()
            assert job.round() == []
            assert len(beside.read_bytes().splitlines()) == 1

    asyncio.run(story())


def test_one_customers_unreadable_audit_does_not_hide_anothers(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, CONFIG + '[[customer]]\nname = "globex"\nsources = ["192.0.2.1"]\n') as one:
            job = _job(one)
            for customer in one.node.customers.values():
                customer.audit.append(Act("ada", "admin", "call.view")).result()
            mark = tmp_path / "data" / KEYS / "acme.audit"
            mark.unlink()
            mark.mkdir()  # as after a restore with a wrong owner: there, and not to be read
            assert [customer for customer, _, _ in job.round()] == ["acme"]
            assert _count(one.node.customers["globex"].folder / "audit.checkpoints") == 1

    asyncio.run(story())


def test_a_thread_that_cannot_be_had_ends_it_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_job, "EVERY_SECONDS", 0.01)

    async def story() -> None:
        async with stage(tmp_path) as one:
            acme, job, tried = one.node.customers["acme"], _job(one), list[int]()
            acme.audit.append(Act("ada", "admin", "call.view")).result()

            def refused() -> list[audit_job.Failure]:
                tried.append(1)
                if len(tried) < 3:
                    raise RuntimeError(NO_THREAD)
                return AuditJob.round(job)

            monkeypatch.setattr(job, "round", refused)
            one.node.tasks.start(job.run(), "audit")
            await one.until(lambda: _count(acme.folder / "audit.checkpoints") == 1)

    asyncio.run(story())


def test_it_goes_on_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_job, "EVERY_SECONDS", 0.01)

    async def story() -> None:
        async with stage(tmp_path) as one:
            acme = one.node.customers["acme"]
            one.node.tasks.start(_job(one).run(), "audit")
            for count in (1, 2):
                acme.audit.append(Act("ada", "admin", "call.view")).result()
                await one.until(lambda count=count: _count(acme.folder / "audit.checkpoints") == count)

    asyncio.run(story())


def _count(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0
