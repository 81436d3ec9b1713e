"""Every minute the end of the log is signed and sent to witnesses; one that was away gets the newest later."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from pathlib import Path

import pytest

from recorder.errors import NotPossible
from recorder.maintenance import audit_job
from recorder.maintenance.audit_job import AuditJob
from recorder.maintenance.audit_witnesses import send
from recorder.maintenance.proof_check import witnessed
from recorder.persist.indexer import NO_THREAD
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act
from storage.customer.customers import KEYS, Customer, CustomerSettings
from storage.errors import DiskFailed
from tests.in_process.storage_node import StorageNode
from tests.recorder.job_parts import Parts

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
        while signed(acme) != count:
            await asyncio.sleep(0.01)


LINE = b'{"customer":"acme","n":1,"hash":"ab","size":9,"at":"2026-03-01T12:00:00.000000Z","signature":"00"}\n'


def test_a_file_gets_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    send(f"file:{path}", LINE)
    path.write_bytes(path.read_bytes() + LINE[:20])
    send(f"file:{path}", LINE)
    assert path.read_bytes() == LINE + LINE[:20] + b"\n" + LINE
    assert len(witnessed(path.read_bytes())) == 2
    with pytest.raises(DiskFailed):
        send(f"file:{tmp_path}/none/marks.jsonl", LINE)


def test_a_file_that_takes_nothing_back_is_only_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = tmp_path / "marks.jsonl", os.open
    path.write_bytes(LINE[:20])

    def opened(place: Path, flags: int, *more: int) -> int:  # as the kernel does after chattr +a
        if flags & (os.O_WRONLY | os.O_RDWR) and not flags & os.O_APPEND:
            raise PermissionError(errno.EPERM, "append-only")
        return before(place, flags, *more)

    def cut(*_: int) -> None:
        raise PermissionError(errno.EPERM, "append-only")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", opened)
        patched.setattr(os, "ftruncate", cut)
        send(f"file:{path}", LINE)
    assert path.read_bytes() == LINE[:20] + b"\n" + LINE


LOCAL = [
    ("syslog", rb"<109>recorder-audit: \{.*\}"),
    ("journald", rb"MESSAGE=\{.*\}\nPRIORITY=5\nSYSLOG_FACILITY=13\nSYSLOG_IDENTIFIER=recorder-audit\n"),
]
RFC_5424 = rb"<109>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ recorder-audit \d+ checkpoint - \{.*\}"


@pytest.mark.parametrize(("kind", "expected"), LOCAL)
def test_local_services_get_a_datagram(tmp_path: Path, kind: str, expected: bytes) -> None:
    path = tmp_path / "socket"
    with pytest.raises(NotPossible):
        send(f"{kind}:{path}", LINE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(path))
        send(f"{kind}:{path}", LINE)
        heard = service.recv(4096)
    assert re.fullmatch(expected, heard) and [mark.head.n for mark in witnessed(heard)] == [1]


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")])
def test_a_remote_syslog_gets_rfc_5424(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as service:
        service.bind((host.strip("[]"), 0))
        service.settimeout(30)
        send(f"syslog:{host}:{service.getsockname()[1]}", LINE)
        heard = service.recv(4096)
    assert re.fullmatch(RFC_5424, heard) and [mark.head.n for mark in witnessed(heard)] == [1]


@pytest.mark.parametrize("host", ["nobody.invalid", "syslog..example", "x" * 70 + ".example"])
def test_a_host_name_that_does_not_resolve_is_an_error(host: str) -> None:
    with pytest.raises(NotPossible):
        send(f"syslog:{host}:514", LINE)
