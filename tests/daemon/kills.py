"""Killing a daemon's processes, its worker or its main, at a moment or at a system call."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.capabilities import SYS_PTRACE, impossible
from tests.daemon.api import Api

RESTART = 0.2
"""Seconds between the end of a service and its next start (RestartSec)."""
SECONDS = 30.0
"""Time limit for steps that a busy machine may delay."""
CHANGING = (
    "write,pwrite64,writev,pwritev,fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,ftruncate,fallocate,sendto,sendmsg"
)


def worker_of(it: Api) -> int:
    """Wait for a media worker and return its process id."""
    assert it.one.process
    children = Path(f"/proc/{it.one.process.pid}/task/{it.one.process.pid}/children")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for pid in children.read_text().split():
            with suppress(OSError):
                if b"recorder.workers.process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        time.sleep(0.02)
    raise LookupError("no worker runs")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


async def kill_main(it: Api) -> None:
    """Kill the main process; its worker is left to notice that itself."""
    assert it.one.process
    it.one.process.kill()
    await asyncio.to_thread(it.one.process.wait)
    await asyncio.sleep(RESTART)


@contextmanager
def killed_at(pid: int, number: int, calls: str = CHANGING) -> Iterator[None]:
    """Kill a process with its threads as soon as one of them makes its n-th such system call."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: apt-get install strace)")
    line = ["strace", "-f", "-q", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={calls}"]
    tracer = subprocess.Popen(
        [*line, "-e", f"inject={calls}:signal=KILL:when={number}"], stderr=subprocess.PIPE, text=True
    )
    status = Path(f"/proc/{pid}/status")
    end = time.monotonic() + SECONDS
    while tracer.poll() is None and time.monotonic() < end:
        with suppress(OSError):
            if "TracerPid:\t0\n" not in status.read_text():
                break
        time.sleep(0.01)
    if tracer.poll() not in (None, 0) and os.path.exists(f"/proc/{pid}"):
        impossible(f"this machine lets nobody be traced: {tracer.communicate()[1][-200:]}", SYS_PTRACE)
    try:
        yield
    finally:
        tracer.terminate()
        tracer.communicate()
