"""Long and odd calls over real sockets: wraps, many sources, comfort noise, hundreds of re-INVITEs; all of it exact."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from media.rtp import header
from sip.sdp.description import SessionDescription
from tests.daemon.coded_calls import SECONDS, Watched, own_place, stored_twice, verified
from tests.daemon.descriptor_store import descriptor_store
from tests.daemon.sbc import Sbc
from tests.daemon.server import server
from tests.in_process.offers import KEYS, sdp
from tests.in_process.worker_call import Sender

WRAP = (1 << 32) // 160
"""Packets of 20 ms after which the timestamp is at its beginning again; the sequence number by then often was."""
LONG, SOURCES, EACH = 20_000, 40, 250
HOURS = 24
PAUSE = 10
"""Seconds between two packets of comfort noise."""
REOFFERS, BETWEEN = 500, 4
RATE = 1_000
"""Packets a second of a sender that is in a hurry: twenty times as fast as speech."""


def offer(version: int, *keys: bytes) -> bytes:
    """Offer a line a key, A-law with comfort noise."""
    return sdp(*["sendonly"] * len(keys), version=version).replace(b"RTP/SAVP 8", b"RTP/SAVP 8 13")


class Place:
    """A recorder, and calls to it by name."""

    def __init__(self, it: Watched) -> None:
        self.it, self.address = it, it.one.host

    @contextmanager
    def call(self, name: str, *keys: bytes) -> Iterator[tuple[Sbc, list[tuple[str, int]]]]:
        """Place a call; give where its streams go. It is hung up at the end."""
        with closing(Sbc("udp", self.address, self.it.one.udp, name)) as sbc:
            answer = sbc.ask("INVITE", offer(1, *keys))
            assert answer.status == 200
            yield sbc, [(self.address, media.port) for media in SessionDescription.parse(answer.body).media]
            assert sbc.ask("BYE").status == 200

    def shown(self, name: str) -> dict[str, Any]:
        """Return the recording once it is over."""
        end = time.monotonic() + SECONDS
        while True:
            found = [call for call in self.it.calls() if call["session_id"] == name and call["state"] != "recording"]
            if found:
                (one,) = found
                assert (one["state"], one["end_reason"]) == ("complete", "bye")
                return one
            assert time.monotonic() < end
            time.sleep(0.1)

    def length(self, call: str) -> float:
        """Return the seconds of sound that come out."""
        wav = self.it.ask(f"/calls/{call}/media?format=wav").raise_for_status().content
        (channels,) = struct.unpack_from("<H", wav, wav.index(b"fmt ") + 10)
        (size,) = struct.unpack_from("<I", wav, wav.index(b"data") + 4)
        return float(size / 2 / channels / 8000)


def hurry(sent: int, began: float) -> None:
    """Wait until so many packets may have been sent."""
    time.sleep(max(0.0, began + sent / RATE - time.monotonic()))


def figures(call: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return of each stream what is stored, lost, doubled, refused and missing."""
    return [(s["packets"], s["lost"], s["duplicates"], s["rejected"], s["gap_ms"], s["gaps"]) for s in call["streams"]]


def whole(packets: int) -> tuple[Any, ...]:
    """Return the figures of a stream that lacks nothing."""
    return packets, 0, 0, 0, 0, []


def over_both_wraps(place: Place) -> None:
    with place.call("wraps", KEYS[0]) as (_, (to,)):
        voice, began = Sender(KEYS[0], 0x1, WRAP - LONG // 2), time.monotonic()
        for number in range(LONG):
            voice.socket.sendto(voice.packet(), to)
            hurry(number, began)
        voice.socket.close()
    call = place.shown("wraps")
    assert figures(call) == [whole(LONG)]
    assert place.length(call["id"]) == LONG / 50


def many_sources(place: Place) -> None:
    """One after the other on the first line, two at once on the second."""
    with place.call("sources", KEYS[0], KEYS[1]) as (_, to):
        began = time.monotonic()
        together = [Sender(KEYS[1], 0x200 + n, 60_000 * n) for n in range(2)]
        for source in range(SOURCES):
            voice = Sender(KEYS[0], 0x100 + source, 7 * source)
            for number in range(EACH):
                together[0].socket.sendto(voice.packet(), to[0])
                together[0].socket.sendto(together[number % 2].packet(), to[1])
                hurry(source * EACH + number, began)
            voice.socket.close()
        for each in together:
            each.socket.close()
    call = place.shown("sources")
    assert figures(call) == [whole(SOURCES * EACH)] * 2
    assert place.length(call["id"]) >= SOURCES * EACH / 50


def a_day_of_comfort_noise(place: Place) -> None:
    """A packet every ten seconds by its timestamp; a minute passes between the words of a day."""
    with place.call("noise", KEYS[0]) as (_, (to,)):
        voice, began, count = Sender(KEYS[0], 0x2), time.monotonic(), HOURS * 3600 // PAUSE
        session = Session(Policy(key=KEYS[0], ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        for number in range(count):
            packet = header.build(13, 100 + number, number * PAUSE * 8000 & 0xFFFF_FFFF, 0x2, b"\x40")
            voice.socket.sendto(session.protect(packet), to)
            hurry(number, began)
        voice.socket.close()
    assert figures(place.shown("noise")) == [whole(count)]


def hundreds_of_reoffers(place: Place) -> None:
    """Each one comes between the packets of a talk that goes on."""
    with place.call("reoffers", *KEYS[:2]) as (sbc, to):
        voices = [Sender(key, 0x300 + n) for n, key in enumerate(KEYS[:2])]
        for version in range(2, REOFFERS + 2):
            for voice, where in zip(voices, to, strict=True):
                for _ in range(BETWEEN):
                    voice.socket.sendto(voice.packet(), where)
            answer = sbc.ask("INVITE", offer(version, *KEYS[:2]))
            assert answer.status == 200
            assert [media.port for media in SessionDescription.parse(answer.body).media] == [port for _, port in to]
        for voice in voices:
            voice.socket.close()
    call = place.shown("reoffers")
    assert figures(call) == [whole(REOFFERS * BETWEEN)] * 2
    assert place.length(call["id"]) == REOFFERS * BETWEEN / 50


STORIES = (over_both_wraps, many_sources, a_day_of_comfort_noise, hundreds_of_reoffers)


@pytest.mark.torture
def test_torture_of_long_and_odd_calls_at_once(tmp_path: Path) -> None:
    with descriptor_store(tmp_path) as store, server(tmp_path, store=store, srtp="required", **own_place(8)) as one:
        token = one.init()
        one.start()
        place, failed = Place(Watched(one, token)), []

        def tell(story: Any) -> None:
            try:
                story(place)
            except BaseException as problem:
                failed.append((story.__name__, problem))

        threads = [threading.Thread(target=tell, args=(story,)) for story in STORIES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert "Traceback" not in one.log.read_text()
        assert one.stop() == 0
        assert verified(one) == []
        assert stored_twice(one) == []
