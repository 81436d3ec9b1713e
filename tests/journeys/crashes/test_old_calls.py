"""SRTP calls whose sequence numbers have wrapped go on over kills, and what was stored before is not stored again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running
from tests.daemon.coded_calls import in_order
from tests.daemon.kills import kill_and_start, worker_of
from tests.daemon.sbc import Sbc
from tests.in_process.offers import KEYS, sdp
from tests.in_process.worker_call import Sender

JUMP = 32_000
"""Sequence numbers left out at once: fewer than 2^15, so that everybody agrees how often they have wrapped."""
WRAP = 1 << 16
SPOKEN = 100
"""Packets of a stretch that is compared to the last one."""


class Voice(Sender):
    """One stream of an SBC that remembers what it sent."""

    def __init__(self, number: int, first: int) -> None:
        super().__init__(KEYS[number], 0x5000 + number, first)
        self.log: list[bytes] = []

    def speak(self, to: tuple[str, int], count: int, rate: float = 500.0) -> None:
        """Send packets in order."""
        for _ in range(count):
            self.log.append(self.packet())
            self.socket.sendto(self.log[-1], to)
            time.sleep(1 / rate)

    def repeat(self, to: tuple[str, int], packets: list[bytes]) -> None:
        """Send packets once more, as somebody does who has recorded them."""
        for packet in packets:
            self.socket.sendto(packet, to)
            time.sleep(0.001)

    def age(self, to: tuple[str, int], goal: int) -> None:
        """Go on to a number; most of the packets before it were lost on the way."""
        while self.next < goal:
            self.speak(to, 1, 50)
            self.next = min(goal, self.next + JUMP)


@contextmanager
def talking(folder: Path, first: int, **settings: Any) -> Iterator[tuple[Api, Sbc, list[tuple[Voice, Any]]]]:
    """Serve, and place a call of two streams."""
    with running(folder, calls=2, kept=True, srtp="required", **settings) as it, it.one.sbc("udp", "old") as sbc:
        answer = sbc.ask("INVITE", sdp("sendonly", "sendonly"))
        ports = [media.port for media in SessionDescription.parse(answer.body).media]
        voices = [(Voice(number, first), (it.one.host, port)) for number, port in enumerate(ports)]
        try:
            yield it, sbc, voices
        finally:
            for voice, _ in voices:
                voice.socket.close()


def kill_worker(it: Api) -> None:
    """Kill the worker and wait until another has its calls."""
    before = it.one.events().count("media.resumed")
    os.kill(worker_of(it), signal.SIGKILL)
    it.one.until("media.resumed", before + 1)


def ended(it: Api, sbc: Sbc, sent: int) -> dict[str, Any]:
    """End the call; everything that was sent is stored, once."""
    time.sleep(1.5)  # what was sent last is taken by then
    assert sbc.ask("BYE").status == 200
    (call,) = it.ended()
    assert [stream["packets"] for stream in call["streams"]] == [sent, sent]
    in_order(it)
    return call


def test_a_call_goes_on_over_kills_after_three_wraps(tmp_path: Path) -> None:
    with talking(tmp_path, 65_400) as (it, sbc, voices):
        for voice, to in voices:
            voice.age(to, 3 * WRAP + 40)
            voice.speak(to, SPOKEN)
        kill_worker(it)
        for voice, to in voices:
            voice.repeat(to, voice.log[-SPOKEN:])
            voice.speak(to, SPOKEN)
        kill_and_start(it.one)
        for voice, to in voices:
            voice.repeat(to, voice.log)
            # the next wrap comes right after the restart
            voice.age(to, 4 * WRAP - SPOKEN // 2)
            voice.speak(to, SPOKEN)
        call = ended(it, sbc, voices[0][0].sent)
        assert all(stream["rejected"] + stream["duplicates"] >= SPOKEN for stream in call["streams"])
