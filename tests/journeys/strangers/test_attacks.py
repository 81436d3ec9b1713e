"""Twenty calls while others send to their media ports: nothing of theirs is recorded, no call ends, nothing is lost."""

from __future__ import annotations

import itertools
import random
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from recorder.simulate.report import CallReport
from tests.daemon.api import Api, running
from tests.daemon.coded_calls import in_order, missing, place, wishes
from tests.daemon.flood import LARGEST, Datagram, flood
from tests.journeys.strangers.kernel import SECOND

pytestmark = pytest.mark.alone  # 20,000 packets a second, of which few may be lost

CALLS = 10
RATE = 20_000
ENOUGH = 0.3
"""What a busy machine must at least send of it, for the attack to be one; alone it sends all."""
PER_THOUSAND = 1
"""Of a thousand genuine packets, how many an attack may cost."""


SIZES = (0, 1, 11, 12, 13, 200, 1500, 9000, LARGEST)


def forgeries(genuine: bytes, chance: random.Random) -> list[bytes]:
    """Make of a genuine packet what is not: changed, cut, played again, RTP without a key, RTCP BYE, STUN, DTLS."""
    sequence = (int.from_bytes(genuine[2:4]) + chance.randrange(1, 400)) & 0xFFFF
    head, ssrc = genuine[:2] + sequence.to_bytes(2) + genuine[4:12], genuine[8:12]
    flipped = bytearray(genuine)
    flipped[chance.randrange(len(genuine))] ^= 1 << chance.randrange(8)
    bye = struct.pack("!BBH", 0x81, 203, 1) + ssrc
    return [
        head + chance.randbytes(len(genuine) - 12),  # a tag that is none
        bytes(flipped),
        genuine[: chance.randrange(len(genuine))],
        genuine,  # played again
        head + bytes([0xD5]) * 160,  # plain RTP
        bye,
        bye + chance.randbytes(14),  # as if it were SRTCP
        struct.pack("!HHI", 1, 0, 0x2112A442) + chance.randbytes(12),  # STUN
        b"\x16\xfe\xfd" + bytes(8) + struct.pack("!H", 40) + b"\x01" + chance.randbytes(39),  # DTLS
        chance.randbytes(chance.choice(SIZES))
        if not chance.randrange(8)
        else chance.randbytes(chance.choice(SIZES[:6])),
    ]


def forged(host: str, ports: Sequence[int], count: int) -> list[Datagram]:
    """Forge from addresses that have nothing to do with any call."""
    chance, out = random.Random(7), []
    known = b"\x80\x08" + chance.randbytes(180)
    while len(out) < count:
        source = f"127.66.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        target = host, chance.choice(ports)
        out += [Datagram((source, 0), target, data) for data in forgeries(known, chance)]
    return out


def media_ports(host: str) -> list[int]:
    """List the media ports that somebody listens on at an address."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    ends = [line.split()[1].partition(":") for line in lines]
    here = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}"
    return [port for address, _, text in ends if address == here and (port := int(text, 16)) >= 20_000]


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


def attacked(it: Api, calls: int, seconds: float, srtp: str) -> list[CallReport]:
    """Place calls; attack their ports before they begin to speak, and then until they end."""
    ports = range(it.one.media, it.one.media + it.one.ports)
    plans = [replace(plan, srtp=srtp, seconds=seconds) for plan in wishes(it.one, calls, seconds)]

    async def meanwhile() -> None:
        await it.talking(calls)
        datagrams = forged(it.one.host, media_ports(it.one.host), 4000)
        with flood(it.one.folder / "attack", datagrams, RATE, seconds - 3) as running:
            await it.until(running.over, seconds + 60)
            sent = running.sent()
            print(f"{sent / running.seconds:.0f} forged packets/s")
            assert sent >= ENOUGH * RATE * running.seconds

    with flood(it.one.folder / "early", forged(it.one.host, ports, 4000), RATE // 4, seconds):
        return place(plans, meanwhile)


@pytest.mark.parametrize("srtp", ["all", "none"])
def test_media_are_taken_from_the_offered_address_only(tmp_path: Path, srtp: str) -> None:
    with running(tmp_path, calls=2 * CALLS, sources="127.0.0.1/32") as it:
        calls = attacked(it, CALLS, 6.0, srtp)
        lost, sent = recorded(it, calls)
        print(f"{lost} of {sent} genuine frames lost, {a_line_a_second_and_stream(it)} lines")
        assert 1000 * lost <= PER_THOUSAND * sent
        in_order(it)
