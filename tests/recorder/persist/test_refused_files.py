"""A disk that becomes read-only while an INVITE is refused keeps its files, and no list shows a call that never was."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorder.calls.crash_scan import CrashScan
from recorder.calls.leaf_prefetch import DAY_SECONDS
from recorder.calls.repair_queue import Left, RepairQueue
from recorder.calls.resume import Resume
from recorder.persist.checkpoint import Checkpoints, refused
from recorder.persist.checkpoint_file import left_calls
from recorder.persist.control_part import ControlPart
from recorder.persist.repair import Found, left_behind, rebuild, recover, repair
from recorder.runtime.disk_thread import Disk
from storage.customer.customer import Customer
from storage.customer.settings import VAULT
from storage.vault.vault import Draft, NewPart, Vault
from tests.in_process.offers import beyond_a_message, sdp
from tests.in_process.recorder_node import Stage, sip_request

PATIENCE = 30.0


@dataclass
class SmallDisk:
    """A file system of its own under the vault."""

    place: Path

    def read_only(self, yes: bool) -> None:
        """Mount it anew; while anybody has a file open for writing the kernel refuses."""
        end, line = time.monotonic() + PATIENCE, ["mount", "-o", f"remount,{'ro' if yes else 'rw'}", str(self.place)]
        while subprocess.run(line, capture_output=True).returncode:
            assert time.monotonic() < end, "somebody keeps a file of the vault open"
            time.sleep(0.02)


@contextmanager
def disk_of(customer: Customer) -> Iterator[SmallDisk]:
    """Put the vault of a customer on a small disk."""
    place = customer.folder / VAULT
    place.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def discards() -> set[asyncio.Task[object]]:
    """What is taking files back."""
    return {task for task in asyncio.all_tasks() if task.get_name() == "discard"}


def withdrawn(one: Stage, monkeypatch: pytest.MonkeyPatch) -> int:
    invite = sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly"), branch="same")
    one.hear(invite, sip_request("CANCEL", "c1", 1, branch="same"))
    return 487


def too_long(one: Stage, monkeypatch: pytest.MonkeyPatch) -> int:
    one.hear(sip_request("INVITE", "c1", 1, beyond_a_message()))
    return 488


def without_checkpoint(one: Stage, monkeypatch: pytest.MonkeyPatch) -> int:
    def full(self: Checkpoints, call: str) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Checkpoints, "begin", full)
        one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
    return 503


@pytest.mark.parametrize("refused", [withdrawn, too_long, without_checkpoint])
async def test_files_of_a_refused_call_look_like_no_call(
    one: Stage, monkeypatch: pytest.MonkeyPatch, refused: Callable[[Stage, pytest.MonkeyPatch], int]
) -> None:
    """After a reboot nothing else tells: the runtime directory is empty."""
    acme = one.node.customers["acme"]
    with disk_of(acme) as disk:
        status = refused(one, monkeypatch)
        assert one.statuses("INVITE") == [status]
        disk.read_only(True)
        await one.until(lambda: not discards())
        disk.read_only(False)
        documents = [repair(acme, call, leaf).document for call, leaf in left_behind(acme, ())]
        assert [each for each in documents if each] == []
        assert not list(acme.vault.walk())


@contextmanager
def impatient(one: Stage) -> Iterator[None]:
    """Give the disk up after a moment."""
    acme, patient = one.node.customers["acme"], one.node.disk
    acme.keys.refill(int(one.node.now().wall.timestamp()) // DAY_SECONDS)
    one.node.disk = Disk(lambda problem: one.faults.append(("disk", problem)), 0.05)
    yield
    one.node.disk.close()
    one.node.disk = patient


async def refused_while_it_is_written(one: Stage, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """Refuse an INVITE because the disk stands still; it goes on, takes all of the call, and becomes read-only."""
    acme, (go, closed, turned) = one.node.customers["acme"], (threading.Event() for _ in range(3))
    begin, unlink = ControlPart.begin, os.unlink

    def stuck(part: ControlPart, fd: int) -> None:
        go.wait(PATIENCE)
        begin(part, fd)

    def later(path: str, *, dir_fd: int | None = None) -> None:
        closed.set()
        turned.wait(PATIENCE)
        unlink(path, dir_fd=dir_fd)

    with impatient(one), monkeypatch.context() as broken:
        broken.setattr(ControlPart, "begin", stuck)
        broken.setattr(os, "unlink", later)
        one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
        assert one.statuses("INVITE") == [503]
        await asyncio.sleep(0)  # from now on the removal waits for this disk
        go.set()
        assert closed.wait(PATIENCE)
        disk.read_only(True)
        turned.set()
    (left,) = left_behind(acme, ())
    assert (rebuild(acme, *left) or {})["state"] == "interrupted", "the files do say that there was a call"
    return left


async def test_files_that_are_made_after_the_refusal_are_removed_too(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is read-only just when whoever made them takes them back."""
    acme, go = one.node.customers["acme"], threading.Event()
    make, unlink = Vault.make, os.unlink

    def stuck(vault: Vault, draft: Draft) -> NewPart:
        go.wait(PATIENCE)
        return make(vault, draft)

    def refused(path: str, *, dir_fd: int | None = None) -> None:
        if dir_fd is None:
            raise OSError(30, "Read-only file system")
        unlink(path, dir_fd=dir_fd)

    with impatient(one), monkeypatch.context() as broken:
        broken.setattr(Vault, "make", stuck)
        broken.setattr(os, "unlink", refused)
        one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
        assert one.statuses("INVITE") == [503]
        done, _ = await asyncio.wait(discards(), timeout=0.2)
        assert not done
        go.set()
        await one.until(lambda: not discards())
    assert one.faults and not list(acme.vault.walk())


async def test_it_is_removed_as_soon_as_the_disk_lets_it_go(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though INVITEs are taken before what a crash left is looked for."""
    acme = one.node.customers["acme"]
    with disk_of(acme) as disk:
        await refused_while_it_is_written(one, disk, monkeypatch)
        await CrashScan(one.node, one.live, one.repairs).run()
        assert len(one.repairs) == 1
        await one.until(lambda: not discards())
        disk.read_only(False)
        await one.until(lambda: not len(one.repairs))
        assert not list(acme.vault.walk()) and not list(one.checkpoints.left())
        await one.node.indexer.drain(30)
        assert await acme.calls.count() == 0
        assert [each["reason"] for each in one.node.incidents.of("acme")] == ["disk"]


async def test_a_successor_knows_that_it_was_refused(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes are killed at once, and the disk is well again at the next start."""
    acme = one.node.customers["acme"]
    with disk_of(acme) as disk:
        call, _ = await refused_while_it_is_written(one, disk, monkeypatch)
        monkeypatch.setattr(one.repairs, "put", lambda left: None)  # it was killed before it could try again
        assert refused(one.node.runtime_dir, acme.name, acme.keys) == {call}
        assert left_calls(one.node.runtime_dir) == set()
        disk.read_only(False)
        checkpoints = Checkpoints(one.node.runtime_dir / "live")
        here = RepairQueue(one.node, checkpoints.remove)
        Resume(one.node, one.recordings, one.live, one.executor, checkpoints, one.workers, here).run({}, {})
        for each in left_behind(acme, ()):
            here.put(Left(acme, *each))
        assert (len(here), await here.round(), len(one.live)) == (1, True, 0)
        assert not list(acme.vault.walk())
        assert await acme.calls.count() == 0
        assert not list(checkpoints.left())
        checkpoints.close()


async def test_by_hand_it_is_removed_too(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    acme, found = one.node.customers["acme"], list[Found]()
    with disk_of(acme) as disk:
        left = await refused_while_it_is_written(one, disk, monkeypatch)
        monkeypatch.setattr(one.repairs, "put", lambda left: None)
        await one.until(lambda: not discards())  # in vain
        disk.read_only(False)
        one.node.storage.well = True
        answered = one.invite("c2")
        one.forget(answered)
        await recover(acme, (), found.append, refused(one.node.runtime_dir, acme.name, acme.keys))
        assert {each.call: bool(each.document) for each in found} == {left[0]: False, answered.id: True}
        assert {ref.call for ref in acme.vault.walk()} == {answered.id}


async def test_a_call_no_worker_learnt_of_is_undone(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All descriptors are taken when the call's are to be kept for a worker that is busy."""
    acme = one.node.customers["acme"]

    def busy(*_: object) -> int:
        raise BlockingIOError

    def full(_: int) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(socket, "send_fds", busy)
        broken.setattr(os, "dup", full)
        one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
    assert one.statuses("INVITE") == [503]
    (call,) = {ref.call for ref in acme.vault.walk()}
    assert call not in one.node.workers
    await one.until(lambda: not list(acme.vault.walk()))


async def test_an_answered_call_is_kept_without_its_runtime_files(one: Stage) -> None:
    """A power cut right after the 200: no packet came, and the runtime directory is empty."""
    acme, call = one.node.customers["acme"], one.invite()
    one.forget(call)
    one.checkpoints.remove(call.id)
    await recover(acme, (), lambda _: None, refused(one.node.runtime_dir, acme.name, acme.keys))
    row = await acme.calls.get(call.id)
    assert row and row.state.value == "interrupted"
