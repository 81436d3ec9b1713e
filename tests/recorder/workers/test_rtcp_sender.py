"""What a worker sends back by RTCP over real sockets, read by RFC 3550 alone."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from recorder.workers import messages
from tests.in_process.worker_call import CALL, WorkerCall, run


def kinds(compound: bytes) -> list[int]:
    """Give the types of the packets of a compound."""
    found, at = [], 0
    while at < len(compound):
        found.append(compound[at + 1])
        at += 4 + 4 * int.from_bytes(compound[at + 2 : at + 4], "big")
    return found


def listener() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(60)
    return made


async def told(sbc: socket.socket, opener: Session) -> list[int]:
    """Give the types of the next compound that is more than a report, whose moment is left to chance."""
    while True:
        found = kinds(opener.unprotect_rtcp(await asyncio.to_thread(sbc.recv, 2048)))
        if found != [201, 202]:
            return found


def test_a_stream_sends_bye_when_it_ends_t2(tmp_path: Path) -> None:
    """Duty T2: BYE goes with the last report, under our own key."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        sbc = [listener(), listener()]
        worker_call.specs = tuple(
            replace(spec, rtcp_source=each.getsockname()) for spec, each in zip(worker_call.specs, sbc, strict=True)
        )
        await worker_call.recording(5)
        worker_call.workers.change(CALL, worker_call.specs[1:], {1: worker_call.pairs[1]}, (0,))
        openers = [Session(Policy(key=spec.own_key, ssrc_type=Policy.SSRC_ANY_INBOUND)) for spec in worker_call.specs]
        assert await told(sbc[0], openers[0]) == [201, 202, 203]
        worker_call.send(5)
        await worker_call.workers.close(CALL)
        assert await told(sbc[1], openers[1]) == [201, 202, 203]
        await worker_call.end()
        for each in sbc:
            each.close()

    run(story())


def test_reports_leave_from_the_announced_address_r27(tmp_path: Path) -> None:
    """Duty R27: symmetric RTCP, also where the route to the client has another address of ours."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path, streams=1)
        sbc = listener()
        worker_call.specs = (replace(worker_call.specs[0], rtcp_source=sbc.getsockname(), here="127.0.0.5"),)
        await worker_call.recording(5)
        await worker_call.workers.close(CALL)
        _, source = await asyncio.to_thread(sbc.recvfrom, 2048)
        assert source == ("127.0.0.5", worker_call.pairs[0].port + 1)
        await worker_call.end()
        sbc.close()

    run(story())


def test_a_picture_is_asked_for_at_once_and_after_a_kill_r26(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, streams=1)
        sbc = listener()
        (spec,) = worker_call.specs
        worker_call.specs = (replace(spec, rtcp_source=sbc.getsockname(), feedback=("pli",)),)
        await worker_call.workers.start()
        worker_call.begin()
        opener = Session(Policy(key=spec.own_key, ssrc_type=Policy.SSRC_ANY_INBOUND))
        worker_call.send(3)
        assert await told(sbc, opener) == [201, 202, 206]
        worker_call.kill()
        await worker_call.heard(messages.Resumed)
        worker_call.send(3)
        assert await told(sbc, opener) == [201, 202, 206]
        await worker_call.workers.close(CALL)
        await worker_call.end()
        sbc.close()

    run(story())


def test_no_report_goes_to_a_host_that_sent_nothing(tmp_path: Path) -> None:
    """Neither in time nor at the end; a host that the stream comes from gets them though nobody knows it."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        victim, home = socket.socket(type=socket.SOCK_DGRAM), listener()
        victim.bind(("127.0.0.77", 0))
        victim.setblocking(False)
        first, second = worker_call.specs
        worker_call.specs = (
            replace(first, rtcp_source=victim.getsockname(), known=False),
            replace(second, rtcp_source=home.getsockname(), known=False),
        )
        await worker_call.recording(5)
        opener = Session(Policy(key=second.own_key, ssrc_type=Policy.SSRC_ANY_INBOUND))
        await worker_call.workers.close(CALL)
        assert await told(home, opener) == [201, 202, 203]
        with pytest.raises(BlockingIOError):
            victim.recv(2048)
        await worker_call.end()
        victim.close()
        home.close()

    run(story())
