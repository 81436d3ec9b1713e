"""What main or a worker said before it died is taken by the other, though the kernel reports the end first."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from recorder.workers import codec, messages
from recorder.workers.worker_handle import Process, activity
from tests.in_process.in_process_worker import in_process_worker
from tests.in_process.worker_call import CALL, recording


def test_the_last_messages_of_a_dead_main_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel reports that the worker's own are lost before it gives what else there is (ECONNRESET)."""
    with in_process_worker(tmp_path, monkeypatch) as worker:
        worker.add("a")
        worker.say(messages.Pause("a", 7))
        worker.control.send(b"unread")
        worker.main.close()
        monkeypatch.setattr(worker, "hear", list)
        assert worker.run() == ["pause a"]


def end_by(number: signal.Signals, pid: int, state: str) -> None:
    """Send a signal and wait until it has done its work, without letting the loop run."""
    os.kill(pid, number)
    while activity(pid)[0] != state:
        time.sleep(0.001)


async def test_the_last_messages_of_a_dead_worker_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_workers: list[Process]
) -> None:
    """The kernel reports first that main's are lost (ECONNRESET); keys of a handshake would never be told again."""
    monkeypatch.setattr("recorder.workers.worker_handle.GATHER", 0.0)
    async with recording(tmp_path, 20) as one:
        (process,) = started_workers
        closing = asyncio.create_task(one.whole(at_once=True))
        await asyncio.sleep(0)  # main reads nothing from here on
        process.control.setblocking(True)
        while isinstance(codec.decode_report(process.control.recv(codec.MAX_MESSAGE, socket.MSG_PEEK)), messages.Beat):
            process.control.recv(codec.MAX_MESSAGE)
        process.control.setblocking(False)
        end_by(signal.SIGSTOP, process.pid, "T")
        process.control.send(codec.encode(messages.Drop(CALL)))
        end_by(signal.SIGKILL, process.pid, "Z")
        assert (await closing).part == "m1"  # nobody had to go on with it
