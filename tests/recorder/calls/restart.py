"""Processes that die: media workers, and main, whose calls a successor resumes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from recorder.calls.live_call import LiveCall
from tests.in_process.recorder_node import Stage
from tests.in_process.worker_call import Sender, worker_pid


def worker(one: Stage) -> int:
    """Return the process id of the one media worker."""
    pid = worker_pid(one.node.settings.node.runtime_dir)
    assert pid is not None
    return pid


def kill_worker(one: Stage) -> None:
    """Kill the media worker."""
    os.kill(worker(one), signal.SIGKILL)


def forget_dialogs(one: Stage) -> None:
    """Leave the endpoint as that of a new process, which knows nobody."""
    one.resources.endpoint._context.sessions.__init__()  # type: ignore[misc]  # emptied where others refer to it


def leave(one: Stage, *calls: LiveCall) -> None:
    """Forget calls as a killed process does: nothing is closed properly, the checkpoints stay."""
    pid = worker(one)
    os.kill(pid, signal.SIGSTOP)  # it must not learn that its calls are forgotten
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    for call in calls:
        one.executor.checkpoint(call)
        one.forget(call)
    os.kill(pid, signal.SIGKILL)  # a worker dies with its main, and only then its ports are free
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    forget_dialogs(one)


def resume(one: Stage, stored: Mapping[str, Sequence[socket.socket]] = MappingProxyType({})) -> None:
    """Resume what a killed process left, as the next start does."""
    one.resuming().run(stored, {})


def resumed(
    one: Stage, call: LiveCall, stored: Mapping[str, Sequence[socket.socket]] = MappingProxyType({})
) -> LiveCall:
    """Kill the process that has the one call; return the call in its successor."""
    leave(one, call)
    resume(one, stored)
    (again,) = one.live
    return again


async def stored(one: Stage, call: LiveCall, sender: Sender) -> int:
    """Send five packets more and return how many the worker has stored in all."""
    sender.send(call.recording.streams[0].port, 5)
    return dict((await one.resources.workers.snapshot(call.id)).streams[0])["packets"]  # type: ignore[return-value]  # a count
