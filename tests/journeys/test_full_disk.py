"""The disk fills while calls run: new ones are refused, running ones kept or marked, all is normal with the space."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest

from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport
from sip.message.message import Response, parse
from tests.daemon.coded_calls import Watched, missing, own_place, place, verified, wishes
from tests.daemon.server import server
from tests.in_process.offers import sdp

SIZE = 48 << 20
IN_TIME = 5.0
"""Seconds until a full disk is told, and until it is forgotten; a machine that is busy with others may add to them."""
SECONDS = 30.0
"""How long an answer may take that a busy machine gives late."""
MANY = 20
"""INVITEs of which one at least is refused at once."""
AT_ONCE = 0.2
"""Seconds within which a refusal comes."""
FULL = 8.0
"""Seconds without space: longer than the memory for calls of eight streams lasts, shorter than for those of two."""
BLOCK = 4096


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is soon full."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Take the last block."""
    with (folder / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, BLOCK):
            try:
                while file.write(bytes(size)) == size:
                    continue
            except OSError:
                continue


@dataclass
class Asker:
    """Somebody who sends one request at a time over UDP."""

    host: str
    count: int = field(default=0)

    def ask(self, method: str, body: bytes = b"") -> tuple[Response, float]:
        """Send a request, wait for its final answer; give that and the seconds it took."""
        self.count += 1
        with socket.socket(type=socket.SOCK_DGRAM) as own:
            own.bind(("127.0.0.1", 0))
            own.settimeout(SECONDS)
            own.connect((self.host, 5060))
            began = time.monotonic()
            own.send(self._request(method, body, own.getsockname()[1]))
            while True:
                answer = parse(own.recv(65536))
                if isinstance(answer, Response) and answer.status >= 200:
                    return answer, time.monotonic() - began

    def _request(self, method: str, body: bytes, port: int) -> bytes:
        name = f"full-disk-{self.count}-{port}"
        kind = "Content-Type: application/sdp\r\nRequire: siprec\r\n" if body else ""
        head = (
            f"{method} sip:rec@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{name};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:sbc@127.0.0.1>;tag=a\r\nTo: <sip:rec@127.0.0.1>\r\nCall-ID: {name}\r\n"
            f"CSeq: 1 {method}\r\nContact: <sip:sbc@127.0.0.1:{port}>;+sip.src\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def health(it: Watched, path: str) -> int:
    return httpx2.get(f"http://{it.one.host}:{it.one.api}{path}", timeout=SECONDS).status_code


def refused_at_once(asker: Asker) -> bool:
    """INVITEs are refused with Retry-After, one of them at once: each may have to wait for a processor instead."""
    for _ in range(MANY):
        answer, took = asker.ask("INVITE", sdp("sendonly", "sendonly"))
        assert (answer.status, bool(answer.headers.get("Retry-After"))) == (503, True)
        if took < AT_ONCE:
            return True
    return False


def lasting(it: Watched) -> list[Plan]:
    """Calls that end while the disk is full, calls that outlive it, and such that have much to keep meanwhile."""
    short, long = wishes(it.one, 8, 4.0)
    return [short, replace(long, seconds=7 + FULL), replace(long, seconds=7 + FULL, calls=2, streams=8)]


def whole_or_marked(it: Watched, calls: list[CallReport]) -> list[str]:
    """Hold every recording against what was sent; give the states. What is missing must be marked, as the disk's."""
    recorded, states = it.over(calls), []
    for call in calls:
        mine = recorded[call.session_id]
        for sent, said, found in zip(call.streams, mine["streams"], it.channels(mine["id"]), strict=True):
            lack = missing(sent, found)
            assert said["gap_ms"] >= 20 * len(lack)
            assert said["packets"] == sent.frames - len(lack)
            assert not lack or (mine["state"], [gap[2] for gap in said["gaps"]]) == ("interrupted", ["disk"])
        states.append(mine["state"])
    return states


def test_a_full_disk_refuses_new_calls_and_harms_no_recording(small_disk: Path, tmp_path: Path) -> None:
    with server(tmp_path, small_disk, level="info", **own_place(20)) as one:
        it, asker, full = Watched(one, one.init()), Asker(one.host), 0.0
        one.start()
        finished = [call["id"] for call in it.over(place(wishes(one, 4, 1.0))).values()]
        before = it.prints(finished)

        def refused() -> bool:
            fill(small_disk)
            return (asker.ask("OPTIONS")[0].status, health(it, "/readyz")) == (503, 503)

        def taken() -> bool:
            return (asker.ask("OPTIONS")[0].status, health(it, "/readyz")) == (200, 200)

        async def meanwhile() -> None:
            nonlocal full
            await it.talking(10, 1000)
            assert taken()
            began = time.monotonic()
            await it.until(refused, 3 * IN_TIME)
            assert refused_at_once(asker)
            assert health(it, "/healthz") == 200
            await it.until(lambda: refused() and time.monotonic() > began + FULL)
            assert it.prints(finished) == before
            (small_disk / "filler").unlink()
            full = time.monotonic() - began
            await it.until(taken, 3 * IN_TIME)

        calls = place(lasting(it), meanwhile)
        assert [call.faults for call in calls if call.number < 4 and len(call.streams) == 8] == [[], []]
        states = whole_or_marked(it, calls)
        assert "interrupted" in states
        assert states.count("complete") >= 4 or full > FULL + 2  # it took a busy machine too long for the memory
        assert it.prints(finished) == before
        after = place(wishes(one, 4, 1.0))
        assert [call.well for call in after] == [True] * 4
        assert whole_or_marked(it, after) == ["complete"] * 4
        assert "Traceback" not in one.log.read_text()
        asyncio.run(it.until(lambda: it.figure("recorder_calls_active") == 0))
        assert one.stop() == 0
        assert verified(one) == []


def test_a_daemon_killed_on_a_full_disk_resumes_its_calls(small_disk: Path, tmp_path: Path) -> None:
    with server(tmp_path, small_disk, level="info", **own_place(4)) as one:
        it, asker = Watched(one, one.init()), Asker(one.host)
        one.start()

        async def meanwhile() -> None:
            await it.talking(4, 100)
            fill(small_disk)
            one.stop(signal.SIGKILL)
            fill(small_disk)
            await asyncio.to_thread(one.start)
            assert [health(it, path) for path in ("/healthz", "/readyz")] == [200, 503]
            assert [asker.ask(m, b)[0].status for m, b in (("OPTIONS", b""), ("INVITE", sdp("sendonly")))] == [503, 503]
            (small_disk / "filler").unlink()
            await it.until(lambda: health(it, "/readyz") == 200, 3 * IN_TIME)

        calls = place(wishes(one, 4, 6.0), meanwhile)
        recorded = it.over(calls)
        for call in calls:
            mine = recorded[call.session_id]
            for sent, said, found in zip(call.streams, mine["streams"], it.channels(mine["id"]), strict=True):
                assert said["gap_ms"] >= 20 * len(missing(sent, found))
        assert "call.resume_failed" not in one.events()
        assert one.stop() == 0
        assert verified(one) == []
