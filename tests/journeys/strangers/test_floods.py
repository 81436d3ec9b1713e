"""Floods at the SIP ports, of strangers and of known sources: calls go on, logs stay short, all is counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import ssl
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.api import running
from tests.daemon.coded_calls import nothing_missing, place, wishes
from tests.daemon.flood import Datagram, flood
from tests.daemon.sbc import request
from tests.daemon.server import Server
from tests.in_process.offers import sdp
from tests.journeys.strangers.kernel import SECOND, dropped_by_the_kernel, processor_seconds

pytestmark = pytest.mark.alone  # 10,000 packets a second, answered in time

CALLS = 8
RATE = 10_000
AT_ONCE = 0.2
TOGETHER = 20
"""Lines a second about unwelcome input from all sources together."""


def asked(one: Server) -> float:
    """Place a call by a bare INVITE from the known address; return the seconds until its 200, and hang up."""
    with one.sbc() as sbc:
        sbc.patience, began = 0.5, time.monotonic()
        assert sbc.insist("INVITE", sdp("sendonly", "sendonly")).status == 200
        took = time.monotonic() - began
        assert sbc.insist("BYE").status == 200
    return took


def lines_of(one: Server, event: str) -> list[dict[str, Any]]:
    return [line for line in one.lines() if line.get("event") == event]


def a_line_a_second(one: Server) -> dict[str, int]:
    """No source has two lines about its input within a second; return how many lines each has."""
    times: dict[str, list[float]] = defaultdict(list)
    for event in ("sip.refused", "sip.dropped"):
        for line in lines_of(one, event):
            times[str(line.get("source"))].append(datetime.fromisoformat(line["time"]).timestamp())
    for source, moments in times.items():
        pairs = itertools.pairwise(sorted(moments))
        assert [after - before for before, after in pairs if after - before < SECOND] == [], source
    return {source: len(moments) for source, moments in times.items()}


def options(count: int, host: str, port: int) -> list[Datagram]:
    """OPTIONS of many strangers."""
    chance = random.Random(7)
    out = []
    for number in range(count):
        source = f"127.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        out.append(Datagram((source, 0), (host, port), request("OPTIONS", source, f"o{number}")))
    return out


def strangers_disturb_nobody(tmp_path: Path, seconds: float) -> None:
    with running(tmp_path, calls=1000, sources="127.0.0.1/32") as it:
        took: list[float] = []
        used = sent = 0.0

        async def meanwhile() -> None:
            nonlocal used, sent
            await it.talking(CALLS)
            assert it.one.process
            main = it.one.process.pid
            with flood(tmp_path / "flood", options(4000, it.one.host, it.one.udp), RATE, seconds) as running:
                before, began = processor_seconds(main), time.monotonic()
                while not running.over():
                    took.append(await asyncio.to_thread(asked, it.one))
                    await asyncio.sleep(0.1)
                used = (processor_seconds(main) - before) / (time.monotonic() - began)
                sent = running.sent()

        calls = place(wishes(it.one, CALLS, seconds + 4), meanwhile)
        counted = it.figure('recorder_sip_dropped_total{reason="source"}')
        shown = sum(a_line_a_second(it.one).values())
        print(
            f"{sent / seconds:.0f} OPTIONS/s, {counted:.0f} of {sent:.0f} counted, {shown} lines, {used:.2f} of a core,"
        )
        print(f"{len(took)} INVITEs answered in {statistics.median(took):.3f} s, {max(took):.3f} s at most")
        nothing_missing(it, calls)
        assert sent >= 0.3 * RATE * seconds  # alone a machine sends all
        dropped = dropped_by_the_kernel(it.one.host, it.one.udp)  # some where the machine is busy
        assert counted + dropped >= 0.9 * sent, "none is left uncounted"
        assert sorted(took)[len(took) // 4] < AT_ONCE  # others may wait for a processor instead
        assert 1 <= shown <= TOGETHER * (seconds + 5)
        assert it.figure("recorder_log_suppressed_total") == counted - shown
        assert it.one.log.stat().st_size < max(200_000, 5_000 * seconds)


def test_ten_thousand_foreign_options_a_second_disturb_no_call(tmp_path: Path) -> None:
    strangers_disturb_nobody(tmp_path, 3.0)


@pytest.mark.torture
def test_torture_of_a_minute_of_options(tmp_path: Path) -> None:
    strangers_disturb_nobody(tmp_path, 60.0)


def bad_datagrams(one: Server) -> list[Datagram]:
    """Garbage, damaged messages and refused requests, each kind from a source of its own."""
    chance, to = random.Random(7), (one.host, one.udp)
    out = []
    for number in range(300):
        garbage = chance.randbytes(chance.randrange(1, 1400))
        name = f"bad{number}"
        damaged = request("INVITE", "127.1.0.2", name).replace(b"CSeq: 1 ", b"CSeq: x ")
        cut = request("INVITE", "127.1.0.3", name, body=sdp("sendonly"))[: chance.randrange(30, 500)]
        refused = request("INVITE", "127.1.0.4", name, body=sdp("sendonly"), fields="Require: nonsense")
        unknown = request(("REGISTER", "NONSENSE", "BYE", "CANCEL", "INFO")[number % 5], "127.1.0.5", name)
        reply = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
        datas = (b"\x80" + garbage, damaged, cut, refused, unknown, reply)
        out += [Datagram((f"127.1.0.{n}", 0), to, data) for n, data in enumerate(datas, 1)]
    return out


async def bad_connections(one: Server, until: Callable[[], bool]) -> int:
    """Say nonsense over TCP, and to the TLS port what is no TLS; return how often."""
    count = 0
    context = ssl.create_default_context()  # does not know our certificate: a handshake that ends in an alert
    while not until():
        for source, port, secured in (
            ("127.1.1.1", one.udp, False),
            ("127.1.1.2", one.tls, False),
            ("127.1.1.3", one.tls, True),
        ):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                _, writer = await asyncio.open_connection(
                    one.host, port, local_addr=(source, 0), ssl=context if secured else None,
                    server_hostname="recorder" if secured else None,
                )  # fmt: skip
                writer.write(b"\x16\x03nonsense\r\n\r\n" * 20)
                await writer.drain()
                writer.close()
            count += 1
    return count


def test_bad_input_is_counted_and_logged_once_a_second_a_source(tmp_path: Path) -> None:
    seconds = 3.0
    with running(tmp_path, calls=4) as it:
        one, made, began = it.one, 0, time.monotonic()

        async def meanwhile() -> None:
            nonlocal made
            await it.talking(4)
            with flood(tmp_path / "flood", bad_datagrams(one), 3000, seconds) as running:
                made = await bad_connections(one, running.over)
                assert running.sent() > 0

        nothing_missing(it, place(wishes(one, 4, seconds + 4), meanwhile))
        seen = a_line_a_second(one)
        assert {f"127.1.0.{n}" for n in range(1, 7)} | {f"127.1.1.{n}" for n in range(1, 4)} <= seen.keys()
        assert sum(seen.values()) <= 9 * (time.monotonic() - began)
        for reason in ("response-unknown", "not-sip", "tls-handshake"):
            assert it.figure(f'recorder_sip_dropped_total{{reason="{reason}"}}') >= min(made / 4, 300), reason
        assert it.figure('recorder_sip_refused_total{method="INVITE",reason="require",status="420"}') >= 300
        assert it.figure('recorder_sip_refused_total{method="INVITE",reason="cseq",status="400"}') >= 300
        assert it.figure("recorder_log_suppressed_total") > 2000
        listed = {(i["reason"], i["status"]): i["count"] for i in it.get("/incidents").json()["items"]}
        assert listed["require", 420] >= 300
        assert "Traceback" not in one.log.read_text()
        one.stop()
        one.start()
        after = {(i["reason"], i["status"]): i["count"] for i in it.get("/incidents").json()["items"]}
        assert after == listed
