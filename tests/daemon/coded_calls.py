"""Calls whose every frame can be found again: place them, find their recordings, say which frames are missing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from media.records import record_format
from recorder.config.loader import load
from recorder.persist.customers import open_customers
from recorder.simulate.coded import SAMPLES, Found, find
from recorder.simulate.compare import difference
from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport, StreamReport
from recorder.simulate.run import run
from tests.daemon.server import Server, files

SECONDS = 30.0
"""How long anything may take that a busy machine does late."""


@dataclass
class Watched:
    """A server, and somebody who asks it."""

    one: Server
    token: str

    def ask(self, path: str) -> httpx2.Response:
        """GET something of the customer."""
        base = f"http://{self.one.api_host}:{self.one.api}/api/v1/customers/acme"
        return httpx2.get(base + path, headers={"Authorization": f"Bearer {self.token}"}, timeout=SECONDS)

    def calls(self) -> list[dict[str, Any]]:
        """Return every call; none while nobody answers, or the index is not open yet."""
        found, page = list[dict[str, Any]](), "/calls?limit=500"
        while True:
            try:
                answer = self.ask(page)
            except httpx2.TransportError:
                return []
            if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
                return []
            found += answer.json()["items"]
            if (cursor := answer.json()["next_cursor"]) is None:
                return found
            page = f"/calls?limit=500&cursor={cursor}"

    def figure(self, name: str) -> float:
        """Return one value of the metrics; 0 while nobody answers."""
        try:
            page = httpx2.get(f"http://{self.one.api_host}:{self.one.api}/metrics", timeout=SECONDS).text
        except httpx2.TransportError:
            return 0
        return sum(float(line.split()[1]) for line in page.splitlines() if line.startswith(name + " "))

    async def until(self, true: Callable[[], Any], seconds: float = SECONDS) -> None:
        """Wait until something holds, whatever the calls do meanwhile."""
        end = time.monotonic() + seconds
        while not await asyncio.to_thread(true):
            if time.monotonic() > end:
                raise TimeoutError(f"it never came to that: {self.one.log.read_text()[-3000:]}")
            await asyncio.sleep(0.05)

    async def talking(self, calls: int, packets: int = 0) -> None:
        """Wait until so many calls run, all of which speak, and so many of their packets are stored."""
        await self.until(lambda: self.figure("recorder_calls_active") >= calls)
        await asyncio.sleep(0.5)
        await self.until(lambda: self.figure('recorder_rtp_packets_total{result="stored"}') >= packets)

    def over(self, calls: Sequence[CallReport]) -> dict[str, dict[str, Any]]:
        """Wait until every call was recorded and ended; give its recording by session, of which there is one."""
        wanted, end = {call.session_id for call in calls}, time.monotonic() + SECONDS
        while True:
            found = [call for call in self.calls() if call["session_id"] in wanted]
            if len(found) >= len(wanted) and not any(call["state"] == "recording" for call in found):
                break
            assert time.monotonic() < end, Counter(call["state"] for call in found)
            time.sleep(0.1)
        assert Counter(call["session_id"] for call in found) == dict.fromkeys(wanted, 1)
        return {call["session_id"]: call for call in found}

    def channels(self, call: str) -> list[list[Found]]:
        """Return the frames of a recording by channel; `wave` of Python 3.11 reads no more than two of them."""
        wav, at, count = self.ask(f"/calls/{call}/media?format=wav").raise_for_status().content, 12, 0
        while wav[at : at + 4] != b"data":
            if wav[at : at + 4] == b"fmt ":
                (count,) = struct.unpack_from("<H", wav, at + 10)
            at += 8 + struct.unpack_from("<I", wav, at + 4)[0]
        sound = memoryview(wav)[at + 8 :].cast("h")
        return [list(find(sound[i::count].tobytes())) for i in range(count)]

    def prints(self, calls: Sequence[str]) -> dict[str, Any]:
        """Return what of finished calls must never change: the bytes of their parts, their audio, what is said."""
        vault = self.one.data / "customers/acme/vault"
        parts = [path for path in files(vault) if path.name.split(".")[0] in calls]
        return {
            "parts": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in parts},
            "audio": {c: hashlib.sha256(self.ask(f"/calls/{c}/media?format=wav").content).hexdigest() for c in calls},
            "facts": {c: self.ask(f"/calls/{c}").json() for c in calls},
        }


def wishes(one: Server, calls: int, seconds: float, hold: float = 0.0) -> list[Plan]:
    """Return what to place: half over UDP, half over TLS, each with every suite in turn."""
    udp = Plan(to=f"sip:rec@{one.host}:{one.udp};transport=udp", calls=calls - calls // 2)
    tls = Plan(to=f"sip:rec@{one.host}:{one.tls};transport=tls", calls=calls // 2, insecure=True)
    return [
        Plan(to=p.to, calls=p.calls, insecure=p.insecure, seconds=seconds, hold=hold, srtp="all", rate=25)
        for p in (udp, tls)
    ]


def place(plans: Sequence[Plan], meanwhile: Callable[[], Awaitable[None]] | None = None) -> list[CallReport]:
    """Place calls and do something in their middle; give what the clients say of them."""

    async def story() -> list[CallReport]:
        running = [asyncio.create_task(run(plan)) for plan in plans]
        try:
            if meanwhile:
                await meanwhile()
            return [call for report in await asyncio.gather(*running) for call in report.calls]
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    return asyncio.run(story())


def missing(stream: StreamReport, found: Sequence[Found]) -> tuple[int, ...]:
    """Return the frames that a channel lacks; everything else about it must be as it was sent."""
    seen = difference(stream, found, 0)
    assert seen.foreign == 0
    assert seen.doubled == ()
    assert len({frame.position - SAMPLES * frame.frame for frame in found}) <= 1
    return seen.missing


def reasons(stream: dict[str, Any]) -> set[str]:
    """Return why audio is missing. A silence lacks nothing that was sent: a hold or BYE found nobody and came again."""
    return {why for _, _, why in stream["gaps"] if why != "no media"}


def stored_twice(one: Server) -> list[tuple[str, int, int]]:
    """Look into the parts of a stopped server for packets that are there more than once: call, source, sequence."""

    async def story() -> list[tuple[str, int, int]]:
        customers = await open_customers(load(one.config))
        counts: Counter[tuple[str, int, int]] = Counter()
        try:
            for ref in customers["acme"].vault.walk():
                for record in record_format.read(customers["acme"].vault.read(ref)):
                    if isinstance(record, record_format.Run | record_format.Mixed):
                        counts.update((ref.call, record.ssrc, record.sequence + i) for i in range(len(record.payloads)))
                    elif isinstance(record, record_format.Packet):
                        ssrc = int.from_bytes(record.packet[8:12])
                        counts[ref.call, ssrc, record.sequence] += 1
        finally:
            await customers.close()
        return [key for key, count in counts.items() if count > 1]

    return asyncio.run(story())


def verified(one: Server) -> list[Any]:
    """Return the defects that `recorder verify` finds; its exit status must agree."""
    done = one.run("verify", "--json")
    defects: list[Any] = json.loads(done.stdout)["defects"]
    assert done.returncode == (1 if defects else 0), done.stderr
    return defects


def own_place(calls: int) -> dict[str, Any]:
    """Return settings of a server that takes so many calls, at an address of its own.

    While it is down nobody else, not even the client that comes back, can be given one of its ports.
    """
    host = ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])
    return {"host": host, "udp": 5060, "tls": 5061, "api": 8443, "media": 20_000, "ports": 4 * calls + 20}
