"""A transfer in the middle of a stream, on a real `recorder serve`: who asks gets their own words and nobody else's."""

from __future__ import annotations

import io
import json
import socket
import time
import wave
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from media.rtp import header
from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running
from tests.in_process.offers import metadata

BOB, CAROL = 0x11, 0x7F
"""Bytes of A-law of which a payload is made: two levels that are told apart."""
SPOKEN = 1.6  # seconds of each


def offer(sockets: list[socket.socket], version: int) -> bytes:
    head = ["v=0", f"o=- 7 {version} IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    for number, one in enumerate(sockets, 1):
        head += [f"m=audio {one.getsockname()[1]} RTP/AVP 8", f"a=label:{number}", "a=sendonly"]
    return ("\r\n".join(head) + "\r\n").encode()


def carol_for_bob() -> bytes:
    """The same stream, and another participant in it."""
    return metadata("Alice", "Carol").decode().replace('"p2"', '"p3"').replace("+49302", "+49303").encode()


def both(sdp: bytes, document: bytes) -> tuple[bytes, str]:
    parts = (b"application/sdp", sdp), (b"application/rs-metadata+xml", document)
    body = b"".join(b"--cut\r\nContent-Type: " + kind + b"\r\n\r\n" + part + b"\r\n" for kind, part in parts)
    return body + b"--cut--\r\n", 'multipart/mixed;boundary="cut"'


def speak(one: socket.socket, to: int, level: int, seq: int) -> int:
    """Send so many seconds in true time; return the number of the next packet."""
    begun = time.monotonic()
    for number in range(int(SPOKEN * 50)):
        time.sleep(max(0.0, begun + number / 50 - time.monotonic()))
        packet = header.build(8, seq + number, 160 * (seq + number), 77, bytes([level]) * 160)
        one.sendto(packet, ("127.0.0.1", to))
    return seq + int(SPOKEN * 50)


def export(it: Api, party: str) -> tuple[dict[str, Any], set[int]]:
    """Have what somebody said exported, everybody else silenced; return the stream's document and what is heard."""
    asked = {"party": party, "format": "json", "media": "wav", "silence_others": True, "columns": ["id", "streams"]}
    data = it.get(f"/exports/{it.export(**asked)}/file").content
    with ZipFile(io.BytesIO(data)) as zip:
        (call,) = json.loads(zip.read("calls.json"))["calls"]
        with wave.open(io.BytesIO(zip.read(f"media/{call['id']}.wav"))) as sound:
            frames = memoryview(sound.readframes(sound.getnframes())).cast("h")
    assert set(frames[::2]) == {0}  # Alice
    second = frames[1::2]
    counted = {level: second.tolist().count(level) / 8000 for level in set(second) - {0}}
    assert all(SPOKEN - 0.8 < seconds < SPOKEN for seconds in counted.values()), counted
    return call["streams"][1], set(counted)


def test_two_speakers_of_one_stream_get_their_own_audio(tmp_path: Path) -> None:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    with running(tmp_path) as it, it.one.sbc("udp") as sbc:
        body, kind = both(offer(sockets, 1), metadata("Alice", "Bob"))
        answer = sbc.ask("INVITE", body, kind=kind)
        assert answer.status == 200
        ports = [media.port for media in SessionDescription.parse(answer.body).media]
        speak(sockets[0], ports[0], 0xAA, 1)
        seq = speak(sockets[1], ports[1], BOB, 1)
        body, kind = both(offer(sockets, 2), carol_for_bob())
        assert sbc.ask("INVITE", body, kind=kind).status == 200
        speak(sockets[1], ports[1], CAROL, seq)
        assert sbc.ask("BYE").status == 200
        it.ended()
        found = {name: export(it, name) for name in ("Bob", "Carol")}
        stream = found["Bob"][0]
        assert [each["party"] for each in stream["speakers"]] == [1, 2]
        assert (stream["party"], stream["earlier"]) == (2, [1])
        assert [len(heard) for _, heard in found.values()] == [1, 1] and found["Bob"][1] != found["Carol"][1]
        assert it.one.stop() == 0
    for each in sockets:
        each.close()
