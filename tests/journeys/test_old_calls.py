"""SRTP calls whose sequence numbers have wrapped go on over kills, and what was stored before is not stored again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sip.sdp.description import SessionDescription
from tests.daemon.coded_calls import Watched, own_place, stored_twice, verified
from tests.daemon.descriptor_store import descriptor_store
from tests.daemon.sbc import Sbc
from tests.daemon.server import server
from tests.in_process.offers import KEYS, sdp
from tests.in_process.worker_call import Sender
from tests.journeys.test_dialogs_go_on import kill_and_start, over
from tests.journeys.test_kill import worker_of

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
def talking(folder: Path, first: int, **settings: Any) -> Iterator[tuple[Watched, Sbc, list[tuple[Voice, Any]]]]:
    """Serve, and place a call of two streams."""
    place = own_place(2) | settings
    with (
        descriptor_store(folder) as store,
        server(folder, store=store, srtp="required", **place) as one,
    ):
        it = Watched(one, one.init())
        one.start()
        with closing(Sbc("udp", one.host, one.udp, "old")) as sbc:
            answer = sbc.ask("INVITE", sdp("sendonly", "sendonly"))
            ports = [media.port for media in SessionDescription.parse(answer.body).media]
            voices = [(Voice(number, first), (one.host, port)) for number, port in enumerate(ports)]
            try:
                yield it, sbc, voices
            finally:
                for voice, _ in voices:
                    voice.socket.close()


def kill_worker(it: Watched) -> None:
    """Kill the worker and wait until another has its calls."""
    before = it.one.events().count("media.resumed")
    os.kill(worker_of(it), signal.SIGKILL)
    it.one.until("media.resumed", before + 1)


def ended(it: Watched, sbc: Sbc, sent: int) -> dict[str, Any]:
    """End the call; everything that was sent is stored, once."""
    time.sleep(1.5)  # what was sent last is taken by then
    assert sbc.ask("BYE").status == 200
    (call,) = over(it)
    assert [stream["packets"] for stream in call["streams"]] == [sent, sent]
    assert it.one.stop() == 0
    assert verified(it.one) == []
    assert stored_twice(it.one) == []
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


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_torture_of_a_very_long_call_over_kills(tmp_path: Path) -> None:
    """An hour of audio at twenty times its speed: three wraps without a single loss, a kill after each."""
    with talking(tmp_path, 0) as (it, sbc, voices):
        for stretch in range(50):
            for _ in range(80):
                for voice, to in voices:
                    for _ in range(50):
                        voice.log.append(voice.packet())
                        voice.socket.sendto(voice.log[-1], to)
                time.sleep(0.05)
            if stretch % 16 == 15:
                kill_worker(it)
                kill_and_start(it.one)
                for voice, to in voices:
                    voice.repeat(to, voice.log[-200:])
        assert voices[0][0].sent == 200_000
        call = ended(it, sbc, 200_000)
        assert [stream["lost"] for stream in call["streams"]] == [0, 0]
