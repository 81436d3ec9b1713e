"""What a worker sends back by RTCP over real sockets, read by RFC 3550 alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from recorder.workers import messages
from tests.in_process.worker_call import CALL, WorkerCall, started


def kinds(compound: bytes) -> list[int]:
    """Give the types of the packets of a compound."""
    found, at = [], 0
    while at < len(compound):
        found.append(compound[at + 1])
        at += 4 + 4 * int.from_bytes(compound[at + 2 : at + 4], "big")
    return found


class Listener:
    """Where an SBC wants the reports of one stream."""

    def __init__(self, key: bytes, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(60)
        self.opener = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND))

    async def more_than_a_report(self) -> list[int]:
        """Give the types of the next compound that is more than a report, whose moment is left to chance."""
        found = [201, 202]
        while found == [201, 202]:
            found = kinds(self.opener.unprotect_rtcp(await asyncio.to_thread(self.socket.recv, 2048)))
        return found


@asynccontextmanager
async def reporting(folder: Path, *hosts: str, **changes: Any) -> AsyncIterator[tuple[WorkerCall, list[Listener]]]:
    """Record a call that has a stream for each host, to which its reports are to go."""
    async with started(folder, streams=len(hosts)) as one:
        sbc = [Listener(spec.own_key, host) for spec, host in zip(one.specs, hosts, strict=True)]
        one.specs = tuple(
            replace(spec, rtcp_source=each.socket.getsockname(), **changes)
            for spec, each in zip(one.specs, sbc, strict=True)
        )
        one.begin()
        one.send(5)
        await one.workers.snapshot(CALL)
        yield one, sbc
        for each in sbc:
            each.socket.close()


async def test_a_stream_sends_bye_when_it_ends_t2(tmp_path: Path) -> None:
    """Duty T2: BYE goes with the last report, under our own key."""
    async with reporting(tmp_path, "127.0.0.1", "127.0.0.1") as (one, sbc):
        one.workers.change(CALL, one.specs[1:], {1: one.pairs[1]}, (0,))
        assert await sbc[0].more_than_a_report() == [201, 202, 203]
        one.send(5)
        await one.close()
        assert await sbc[1].more_than_a_report() == [201, 202, 203]


async def test_reports_leave_from_the_announced_address_r27(tmp_path: Path) -> None:
    """Duty R27: symmetric RTCP, also where the route to the client has another address of ours."""
    async with reporting(tmp_path, "127.0.0.1", here="127.0.0.5") as (one, sbc):
        await one.close()
        _, source = await asyncio.to_thread(sbc[0].socket.recvfrom, 2048)
        assert source == ("127.0.0.5", one.pairs[0].port + 1)


async def test_a_picture_is_asked_for_at_once_and_after_a_kill_r26(tmp_path: Path) -> None:
    async with reporting(tmp_path, "127.0.0.1", feedback=("pli",)) as (one, sbc):
        assert await sbc[0].more_than_a_report() == [201, 202, 206]
        one.kill()
        await one.heard(messages.Resumed)
        one.send(3)
        assert await sbc[0].more_than_a_report() == [201, 202, 206]


async def test_no_report_goes_to_a_host_that_sent_nothing(tmp_path: Path) -> None:
    """Neither in time nor at the end; a host that the stream comes from gets them though nobody knows it."""
    async with reporting(tmp_path, "127.0.0.77", "127.0.0.1", known=False) as (one, (victim, home)):
        await one.close()
        assert await home.more_than_a_report() == [201, 202, 203]
        victim.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            victim.socket.recv(2048)
