"""Floods at the SIP ports, of strangers and of known sources: calls go on, logs stay short, all is counted."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections import defaultdict
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
from tests.journeys.strangers.kernel import SECOND, dropped_by_the_kernel

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
        sent = 0.0

        async def meanwhile() -> None:
            nonlocal sent
            await it.talking(CALLS)
            with flood(tmp_path / "flood", options(4000, it.one.host, it.one.udp), RATE, seconds) as running:
                while not running.over():
                    took.append(await asyncio.to_thread(asked, it.one))
                    await asyncio.sleep(0.1)
                sent = running.sent()

        calls = place(wishes(it.one, CALLS, seconds + 4), meanwhile)
        counted = it.figure('recorder_sip_dropped_total{reason="source"}')
        shown = sum(a_line_a_second(it.one).values())
        print(f"{sent / seconds:.0f} OPTIONS/s, {counted:.0f} of {sent:.0f} counted, {shown} lines")
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
