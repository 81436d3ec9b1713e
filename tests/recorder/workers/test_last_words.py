"""What main or a worker said before it died is taken by the other, though the kernel speaks of the end first."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from recorder.workers import codec, messages
from recorder.workers.process import LOOK
from recorder.workers.worker_handle import activity
from tests.in_process.worker_call import CALL, WorkerCall, alone, run
from tests.recorder.workers.test_pool import all_of
from tests.recorder.workers.test_process import stopped


def test_a_worker_reads_mains_last_message_before_it_ends(tmp_path: Path) -> None:
    """The signal ends a poll whose time is over, which then says that nothing came, and has not looked."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path, first=100)
        await worker_call.workers.start()
        worker_call.begin()
        pid = await stopped(worker_call)
        await asyncio.sleep(2 * LOOK)  # or however long: its poll is to be over
        worker_call.workers.pause(CALL)
        spoken = worker_call.senders[0].sent
        worker_call.send(5)
        os.kill(pid, signal.SIGUSR1)
        os.kill(pid, signal.SIGCONT)
        await worker_call.heard(messages.Resumed)  # by a successor: who hears that signal ends soon
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(final)
        assert [worker_call.frames(found, stream) for stream in (0, 1)] == [list(range(spoken))] * 2
        await worker_call.end()

    run(story())


def test_the_last_messages_of_a_dead_main_are_read(tmp_path: Path) -> None:
    """The kernel tells that those are lost before it gives what else there is (ECONNRESET)."""
    with alone(tmp_path) as (worker, main):
        worker._recorders = {CALL: object()}  # type: ignore[dict-item]  # nothing is asked of it
        worker._next_beat = time.monotonic() + 100.0
        heard: list[object] = []
        worker._handlers[messages.Pause] = lambda message, _: heard.append(message)
        worker._tell(messages.Beat(0.0))
        main.send(codec.encode(messages.Pause(CALL, 7)))
        main.close()
        assert not worker._listen()
    assert heard == [messages.Pause(CALL, 7)]


def end_by(number: signal.Signals, pid: int, state: str) -> None:
    """Send a signal and wait until it has done its work, without letting the loop run."""
    os.kill(pid, number)
    while activity(pid)[0] != state:
        time.sleep(0.001)


def test_the_last_messages_of_a_dead_worker_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells first that those are lost (ECONNRESET); keys of a handshake would never be told again."""
    monkeypatch.setattr("recorder.workers.worker_handle.GATHER", 0.0)  # what it is told waits for nothing

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.recording(20)
        process = worker_call.workers._processes[0]
        closing = asyncio.create_task(worker_call.workers.close(CALL))
        await asyncio.sleep(0)  # it is told, and main reads nothing from here on
        process.control.setblocking(True)
        while isinstance(codec.decode_report(process.control.recv(codec.MAX_MESSAGE, socket.MSG_PEEK)), messages.Beat):
            process.control.recv(codec.MAX_MESSAGE)
        process.control.setblocking(False)
        end_by(signal.SIGSTOP, process.pid, "T")
        process.control.send(codec.encode(messages.Drop(CALL)))
        end_by(signal.SIGKILL, process.pid, "Z")
        final = await closing
        all_of(worker_call, final)
        assert final.part == "m1"  # nobody had to go on with it
        await worker_call.end()

    run(story())
