"""Whether calls are accepted, and how the storage becomes well again."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from recorder.calls import admission
from recorder.calls.admission import SETTLED_SECONDS, Admission, room
from recorder.runtime.sd_notify import Notifier
from tests.in_process.recorder_node import CONFIG, Stage, sip_request, stage


def keeper(one: Stage, *chores: object) -> Admission:
    return Admission(one.node, one.live, one.executor.checkpoint, chores)  # type: ignore[arg-type]  # callables


def options(one: Stage, number: int) -> int:
    one.hear(sip_request("OPTIONS", f"o{number}", number))
    return one.statuses("OPTIONS")[-1]


def test_calls_are_refused_while_the_storage_fails(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            here = keeper(one)
            one.node.load_changed = here.review
            assert options(one, 1) == 200
            one.node.storage.trouble(OSError(5, "broken"))
            assert here.not_accepting() == "storage"
            assert options(one, 2) == 503
            here.beat()
            assert here.not_accepting() is None
            assert options(one, 3) == 200

    asyncio.run(story())


def test_the_limit_and_the_drain_are_said(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace("max_calls = 5", "max_calls = 1")) as one:
            here = keeper(one)
            one.invite()
            assert here.not_accepting() == "limit reached"
            here.drain()
            assert here.not_accepting() == "draining"

    asyncio.run(story())


def test_the_watchdog_is_fed_only_while_all_workers_are_well(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(str(tmp_path / "manager"))
                manager.setblocking(False)
                one.node.notify = Notifier(str(tmp_path / "manager"))
                here = keeper(one)
                await one.until(lambda: one.node.workers.well)
                here.beat()
                assert manager.recv(100) == b"WATCHDOG=1"
                (process,) = one.node.workers._processes.values()
                process.last_beat -= 100
                here.beat()
                with pytest.raises(BlockingIOError):
                    manager.recv(100)
                one.node.notify.close()

    asyncio.run(story())


def test_sockets_the_service_manager_did_not_take_are_resent(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            here = keeper(one)
            one.node.notify = Notifier(str(tmp_path / "manager"))  # it is not there yet
            call = one.invite()
            assert call.sockets.unstored
            here.beat()
            assert call.sockets.unstored
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(str(tmp_path / "manager"))
                manager.setblocking(False)
                here.beat()
                data, given, _, _ = socket.recv_fds(manager, 1000, 10)
                for descriptor in given:
                    os.close(descriptor)
                assert data.decode().split("\n") == ["FDSTORE=1", f"FDNAME={call.sockets.name}", "FDPOLL=0"]
                assert len(given) == len(call.sockets.descriptors()) > 0
                assert not call.sockets.unstored
                assert manager.recv(100) == b"WATCHDOG=1"
                here.beat()
                assert manager.recv(100) == b"WATCHDOG=1"
            one.node.notify.close()

    asyncio.run(story())


def test_waiting_sockets_are_stored_before_the_next_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash meanwhile would cost those calls audio: a manager's queue holds ten messages, a node has more calls."""
    monkeypatch.setattr(admission, "BEAT_SECONDS", 600.0)

    async def story() -> None:
        async with stage(tmp_path) as one:
            one.node.notify = Notifier(str(tmp_path / "manager"))  # it is not there yet
            calls = [one.invite(name) for name in ("c1", "c2")]
            beating = asyncio.create_task(keeper(one).run())
            await asyncio.sleep(0)
            assert all(call.sockets.unstored for call in calls)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(str(tmp_path / "manager"))
                await one.until(lambda: not any(call.sockets.unstored for call in calls))
            beating.cancel()
            one.node.notify.close()

    asyncio.run(story())


def test_a_changed_call_is_saved_at_the_next_beat(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            call.dirty = True
            done: list[int] = []
            beat = keeper(one, lambda: done.append(1)).beat
            beat()
            waits = call.dirty
            assert waits  # a call that has just begun
            begun = call.recording.started
            assert begun is not None
            call.recording.started = begun._replace(mono=begun.mono - SETTLED_SECONDS - 1)
            beat()
            assert not call.dirty
            assert done == [1, 1]

    asyncio.run(story())


def test_a_bug_in_a_chore_does_not_stop_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            monkeypatch.setattr(admission, "BEAT_SECONDS", 0.001)
            beats: list[int] = []
            one.node.tasks.start(keeper(one, lambda: beats.append(1 // 0)).run(), "beat")
            other: list[int] = []
            one.node.tasks.start(keeper(one, lambda: other.append(1)).run(), "other")
            await one.until(lambda: len(other) > 3)
            assert one.faults == []

    asyncio.run(story())


def test_a_small_disk_is_full_at_a_twentieth(small_disk: Path) -> None:
    assert room(small_disk, 64 << 20)
    (small_disk / "filler").write_bytes(bytes(1_000_000))
    assert not room(small_disk, 64 << 20)


def test_a_disk_that_is_gone_has_no_room(tmp_path: Path) -> None:
    assert not room(tmp_path / "nowhere", 1)


def test_only_lasting_load_refuses_calls(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            here = keeper(one)
            (process,) = one.node.workers._processes.values()
            process.busy = 0.99
            here.beat()
            assert here.not_accepting() is None
            begun = here._busy_since
            assert begun is not None
            here._busy_since = begun - admission.BUSY_SECONDS
            assert here.not_accepting() == "workers busy"
            process.busy = 0.5
            here.beat()
            assert here.not_accepting() is None

    asyncio.run(story())
