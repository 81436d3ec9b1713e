"""An acknowledged entry stays; several writers share one chain; damage is written on but never forgotten."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act
from storage.errors import DiskFailed, NoSpace

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
VIEW = Act("alice", "listener", "call.view", "some call")


def now() -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC)


def opened(folder: Path) -> Audit:
    return Audit(folder, folder, "acme", KEY, now)


def actions(audit: Audit) -> list[str]:
    return [item["action"] for item in reversed(audit.read(limit=1000).items)]


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made, real = list[int](), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (made.append(fd), real(fd)))
    return made


def test_entries_that_wait_share_a_sync_and_closing_writes_them(tmp_path: Path, syncs: list[int]) -> None:
    audit = opened(tmp_path)
    assert audit.append(VIEW).result() == 1
    assert (tmp_path / "audit.jsonl").read_bytes().count(b"\n") == 1
    futures = [audit.append(VIEW) for _ in range(500)]
    audit.close()
    assert [future.result() for future in futures] == list(range(2, 502))
    assert len(syncs) < 100


def test_a_beat_is_synced_and_leaves_no_entry(tmp_path: Path, syncs: list[int]) -> None:
    audit = opened(tmp_path)
    audit.beat().result()  # before there is anything
    assert audit.verify().entries == 0 and len(syncs) == 1
    audit.append(VIEW).result()
    syncs.clear()
    audit.append(VIEW).result()
    before, entry = (tmp_path / "audit.jsonl").read_bytes(), len(syncs)
    audit.beat().result()
    assert len(syncs) == 2 * entry and (tmp_path / "audit.jsonl").read_bytes() == before
    futures = [audit.beat(), audit.append(VIEW), audit.beat(), audit.append(VIEW)]
    assert [futures[1].result(), futures[3].result()] == [3, 4]
    assert audit.verify().entries == 4 and audit.verify().good
    audit.close()


def write_some(folder: Path, count: int) -> None:
    audit = opened(folder)
    for _ in range(count):
        audit.append(VIEW).result()
    audit.close()


def test_several_writers_share_one_chain(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as writers:
        list(writers.map(lambda count: write_some(tmp_path, count), [30] * 3))
    verdict = opened(tmp_path).verify()
    assert verdict.good and verdict.entries == 90


def test_a_torn_line_is_cut_and_noted(tmp_path: Path) -> None:
    write_some(tmp_path, 2)
    with (tmp_path / "audit.jsonl").open("ab") as log:
        log.write(b'{"n":3,"ti')
    audit = opened(tmp_path)
    audit.append(VIEW).result()
    assert actions(audit) == ["call.view", "call.view", "audit.repair", "call.view"]
    assert audit.verify().good


@pytest.mark.parametrize(
    ("harm", "running", "seen"),
    [
        (lambda data: b"".join(data.splitlines(keepends=True)[:3]), False, ["call.view"] * 3 + ["audit.broken"]),
        (lambda data: data[:-10] + b"0" * 7 + data[-3:], False, ["call.view"] * 5 + ["audit.broken"]),
        (lambda data: b"", True, ["audit.broken"]),
        (lambda data: b"".join(data.splitlines(keepends=True)[:3]), True, ["call.view"] * 3 + ["audit.broken"]),
    ],
    ids="rolled-back edited removed-while-running rolled-back-while-running".split(),
)
def test_a_damaged_log_is_written_on_and_stays_bad(
    tmp_path: Path, harm: Callable[[bytes], bytes], running: bool, seen: list[str]
) -> None:
    writer = opened(tmp_path)
    for _ in range(5):
        writer.append(VIEW).result()
    if not running:
        writer.close()
        writer = opened(tmp_path)
    log = tmp_path / "audit.jsonl"
    left = harm(log.read_bytes())
    log.unlink()
    if left:
        log.write_bytes(left)
    for _ in range(2):
        writer.append(VIEW).result()
    assert actions(writer) == [*seen, "call.view", "call.view"]
    assert not writer.verify().good
    writer.close()


@pytest.mark.parametrize(("number", "error"), [(28, NoSpace), (5, DiskFailed)])
def test_a_failed_sync_acknowledges_nothing_and_loses_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    audit = opened(tmp_path)
    audit.append(VIEW).result()
    owned = (tmp_path / "audit.jsonl").stat().st_blocks

    def fails(_fd: int) -> None:
        raise OSError(number, "")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(error):
            audit.append(VIEW).result()
    assert audit.append(VIEW).result() == 2
    assert audit.verify().good
    assert (tmp_path / "audit.jsonl").stat().st_blocks >= owned
    audit.close()


def test_a_checkpoint_is_written_only_if_the_log_has_grown(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    assert audit.checkpoint() is None
    audit.append(VIEW).result()
    mark = audit.checkpoint()
    assert mark.head.n == 1
    assert mark.genuine(audit.public_key, "acme")
    assert audit.checkpoint() is None
    assert audit.verify().good


def test_a_checkpoint_that_cannot_be_read_is_the_disks_fault(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    (tmp_path / "acme.audit").mkdir()
    with pytest.raises(DiskFailed, match="could not write a checkpoint of the audit log: EISDIR"):
        audit.checkpoint()
