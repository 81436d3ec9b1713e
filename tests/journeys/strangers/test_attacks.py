"""Twenty calls while others send to their media ports: nothing of theirs is recorded, no call ends, nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from recorder.simulate.report import CallReport
from tests.daemon.api import Api, running
from tests.daemon.coded_calls import in_order, missing, place, wishes
from tests.daemon.flood import Datagram, flood
from tests.daemon.kills import worker_of
from tests.journeys.strangers.attackers import doors, from_inside, from_outside, overheard
from tests.journeys.strangers.kernel import SECOND, processor_seconds

pytestmark = pytest.mark.alone  # 20,000 packets a second, of which few may be lost

CALLS = 10
RATE = 20_000
ENOUGH = 0.3
"""What a busy machine must at least send of it, for the attack to be one; alone it sends all."""
PER_THOUSAND = 1
"""Of a thousand genuine packets, how many an attack may cost."""
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can send in the name of another address and listen in")


def recorded(it: Api, calls: Sequence[CallReport]) -> tuple[int, int]:
    """Hold every recording against what was sent: frames that are missing, and all. Nothing else is in it."""
    assert [(call.number, call.faults) for call in calls if not call.well] == []
    found, lost, sent = it.over(calls), 0, 0
    for call in calls:
        mine = found[call.session_id]
        assert (mine["state"], mine["end_reason"]) == ("complete", "bye")
        for stream, said, frames in zip(call.streams, mine["streams"], it.channels(mine["id"]), strict=True):
            lack = len(missing(stream, frames))
            assert said["packets"] == stream.frames - lack
            lost, sent = lost + lack, sent + stream.frames
    return lost, sent


def a_line_a_second_and_stream(it: Api) -> int:
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    lines = [line for line in it.one.lines() if line.get("event") == "media.strangers"]
    for line in lines:
        times[line["call"], line["stream"]].append(datetime.fromisoformat(line["time"]).timestamp())
    for moments in times.values():
        assert all(after - before >= SECOND for before, after in itertools.pairwise(moments))
    return len(lines)


def attacked(it: Api, calls: int, seconds: float, srtp: str, inside: bool) -> list[CallReport]:
    """Place calls; attack their ports before they begin to speak, and then until they end."""
    ports = range(it.one.media, it.one.media + it.one.ports)
    plans = [replace(plan, srtp=srtp, seconds=seconds) for plan in wishes(it.one, calls, seconds)]
    used = 0.0

    async def meanwhile() -> None:
        nonlocal used
        await it.talking(calls)
        heard = await asyncio.to_thread(overheard, "127.0.0.1", it.one.host, 400) if inside else []
        targets = [end[1] for end, _ in doors(it.one.host)]
        forged: list[Datagram] = from_outside(it.one.host, targets, heard, 4000)
        if inside:
            assert len(heard) == 400
            forged += from_inside(heard, 4000)
        worker = worker_of(it)
        before = processor_seconds(worker)
        with flood(it.one.folder / "attack", forged, RATE, seconds - 3) as running:
            await it.until(running.over, seconds + 60)
            used = (processor_seconds(worker) - before) / running.seconds
            sent = running.sent()
            print(f"{sent / running.seconds:.0f} forged packets/s")
            assert sent >= ENOUGH * RATE * running.seconds

    with flood(it.one.folder / "early", from_outside(it.one.host, ports, [], 4000), RATE // 4, seconds):
        placed = place(plans, meanwhile)
    counted = {name: it.figure(f'recorder_rtp_packets_total{{result="{name}"}}') for name in ("rejected", "foreign")}
    print(f"worker {used:.2f} of a core, {counted}")
    return placed


def nobody_gets_in(folder: Path, seconds: float, srtp: str, inside: bool) -> None:
    with running(folder, calls=2 * CALLS, sources="127.0.0.1/32") as it:
        calls = attacked(it, CALLS, seconds, srtp, inside)
        lost, sent = recorded(it, calls)
        print(f"{lost} of {sent} genuine frames lost, {a_line_a_second_and_stream(it)} lines")
        assert 1000 * lost <= PER_THOUSAND * sent
        in_order(it)


@root
def test_forged_packets_do_no_harm_even_with_the_real_address(tmp_path: Path) -> None:
    nobody_gets_in(tmp_path, 8.0, "all", inside=True)


def test_plain_rtp_is_taken_from_the_offered_address_only(tmp_path: Path) -> None:
    nobody_gets_in(tmp_path, 6.0, "none", inside=False)
