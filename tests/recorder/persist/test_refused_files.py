"""A disk that becomes read-only while an INVITE is refused keeps its files, and no list shows a call that never was."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorder.persist.checkpoint import Checkpoints, Mark, refused
from recorder.persist.checkpoint_file import left_calls
from recorder.persist.repair import left_behind, recover, repair
from storage.customer.customer import Customer
from storage.customer.settings import VAULT
from tests.capabilities import impossible
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import Stage, sip_request
from tests.recorder.persist.test_forged_states import started

PATIENCE = 30.0


def remount(place: Path, how: str) -> None:
    """Mount a file system anew; while anybody has a file open for writing the kernel refuses."""
    end = time.monotonic() + PATIENCE
    while subprocess.run(["mount", "-o", f"remount,{how}", str(place)], capture_output=True).returncode:
        assert time.monotonic() < end, "somebody keeps a file of the vault open"
        time.sleep(0.02)


@contextmanager
def disk_of(customer: Customer) -> Iterator[Path]:
    """Put the vault of a customer on a small disk."""
    place = customer.folder / VAULT
    place.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        impossible("a small file system can be mounted by root only")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def discards() -> set[asyncio.Task[object]]:
    """What is taking files back."""
    return {task for task in asyncio.all_tasks() if task.get_name() == "discard"}


def withdrawn(one: Stage, monkeypatch: pytest.MonkeyPatch) -> int:
    invite = sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly"), branch="same")
    one.hear(invite, sip_request("CANCEL", "c1", 1, branch="same"))
    return 487


def without_checkpoint(one: Stage, monkeypatch: pytest.MonkeyPatch) -> int:
    def full(self: Checkpoints, call: str) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Checkpoints, "begin", full)
        one.hear(sip_request("INVITE", "c1", 1, sdp("sendonly", "sendonly")))
    return 503


@pytest.mark.parametrize("refused", [withdrawn, without_checkpoint])
async def test_files_of_a_refused_call_look_like_no_call(
    one: Stage, monkeypatch: pytest.MonkeyPatch, refused: Callable[[Stage, pytest.MonkeyPatch], int]
) -> None:
    """After a reboot nothing else tells: the runtime directory is empty."""
    acme = one.customers["acme"]
    with disk_of(acme) as disk:
        status = refused(one, monkeypatch)
        assert one.statuses("INVITE") == [status]
        remount(disk, "ro")
        await one.until(lambda: not discards())
        remount(disk, "rw")
        documents = [repair(acme, call, leaf).document for call, leaf in left_behind(acme, ())]
        assert [each for each in documents if each] == []
        assert not list(acme.vault.walk())


@pytest.mark.parametrize("by_hand", [True, False])
async def test_files_of_a_refused_call_are_removed_by_a_successor(one: Stage, by_hand: bool) -> None:
    """A disk kept them that was full or read-only, and all processes were killed; also by `recorder recover`."""
    acme, call = one.customers["acme"], one.invite()
    one.checkpoints.mark_refused(Mark(call.id, "acme", call.leaf, ()), acme.keys)
    one.forget(call)
    told = refused(one.node.settings.node.runtime_dir, acme.name, acme.keys)
    assert (told, left_calls(one.node.settings.node.runtime_dir)) == ({call.id}, set())
    if by_hand:
        await recover(acme, (), lambda _: None, told)
    else:
        with started(one) as (checkpoints, repairs):
            assert (len(repairs), await repairs.round(), len(one.live)) == (1, True, 0)
            assert not list(checkpoints.left())
    assert not list(acme.vault.walk())


async def test_a_call_no_worker_learnt_of_is_undone(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All descriptors are taken when the call's are to be kept for a worker that is busy."""
    acme = one.customers["acme"]

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
    assert call not in one.resources.workers
    await one.until(lambda: not list(acme.vault.walk()))


async def test_an_answered_call_is_kept_without_its_runtime_files(one: Stage) -> None:
    """A power cut right after the 200: no packet came, and the runtime directory is empty."""
    acme, call = one.customers["acme"], one.invite()
    one.forget(call)
    one.checkpoints.remove(call.id)
    await recover(acme, (), lambda _: None, refused(one.node.settings.node.runtime_dir, acme.name, acme.keys))
    row = await acme.calls.get(call.id)
    assert row and row.state.value == "interrupted"
