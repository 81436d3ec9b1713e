"""Disks that are soon full, and how a recorder answers meanwhile."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sip.message.message import Response
from tests.capabilities import impossible
from tests.daemon.api import until
from tests.daemon.server import Server
from tests.in_process.offers import sdp

SIZE = 48 << 20
BLOCK = 4096
MANY = 20
"""INVITEs of which one at least is refused at once."""
AT_ONCE = 0.2
"""Seconds within which a refusal comes."""


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """Have a file system of its own in a folder; skip the test where nobody can mount one."""
    folder.mkdir(parents=True)
    line: list[str | Path] = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder]
    if subprocess.run(line, capture_output=True, check=False).returncode:
        impossible("no tmpfs can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that is soon full, where a server has its data."""
    with mounted(tmp_path / "data", f"size={SIZE}") as folder:
        yield folder


def fill(folder: Path) -> None:
    """Take the last block."""
    with (folder / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, BLOCK):
            try:
                while file.write(bytes(size)) == size:
                    continue
            except OSError:
                continue


def filled(disk: Path) -> None:
    """Leave no byte free, though the daemon may give one back meanwhile."""

    def full() -> bool:
        fill(disk)
        return not os.statvfs(disk).f_bavail

    until(full)


def asked(one: Server, method: str, body: bytes = b"") -> tuple[Response, float]:
    """Send one request over UDP; give its final answer and the seconds that took."""
    with one.sbc() as sbc:
        began = time.monotonic()
        return sbc.ask(method, body), time.monotonic() - began


def refused_at_once(one: Server) -> bool:
    """INVITEs are refused with Retry-After, one of them at once: each may have to wait for a processor instead."""
    for _ in range(MANY):
        answer, took = asked(one, "INVITE", sdp("sendonly", "sendonly"))
        assert (answer.status, bool(answer.headers.get("Retry-After"))) == (503, True)
        if took < AT_ONCE:
            return True
    return False
