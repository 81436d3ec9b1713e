"""Whoever an earlier call was heard from at a media port is not heard there in the next."""

from __future__ import annotations

import socket
import struct
from collections import Counter

import pytest

from media.records import record_format
from recorder.calls.live_call import LiveCall
from sip.message.header_values import Flow
from tests.daemon.server import free_span
from tests.in_process.recorder_node import CONFIG, Stage, sip_request
from tests.recorder.calls.client import hear

ACME, GLOBEX = "127.0.0.2", "127.0.0.3"
TEXT = (
    CONFIG.replace("127.0.0.0/8", f"{ACME}/32").replace("[keys]", 'srtp = "preferred"\n[keys]')
    + f'[[customer]]\nname = "globex"\nsources = ["{GLOBEX}/32"]\n'
)
PACKETS = 20


@pytest.fixture
def config() -> str:
    first = free_span(4)
    return TEXT.replace("{first}-{last}", f"{first}-{first + 3}")


class Speaker:
    """Sends plain RTP whose sound is one letter."""

    def __init__(self, host: str, letter: bytes) -> None:
        self.letter, self.number = letter, 0
        self.sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
        for each in self.sockets:
            each.bind((host, 0))

    def __enter__(self) -> Speaker:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.sockets:
            each.close()

    def offer(self, host: str) -> bytes:
        lines = [f"v=0\r\nc=IN IP4 {host}\r\n"]
        lines += [f"m=audio {each.getsockname()[1]} RTP/AVP 8\r\na=sendonly\r\n" for each in self.sockets]
        return "".join(lines).encode()

    def speak(self, ports: list[int]) -> None:
        for _ in range(PACKETS):
            self.number += 1
            head = struct.pack("!BBHII", 0x80, 8, self.number, 160 * self.number, self.letter[0])
            for each, port in zip(self.sockets, ports, strict=True):
                each.sendto(head + self.letter * 160, ("127.0.0.1", port))


def flow_of(host: str) -> Flow:
    return Flow("udp", ("127.0.0.1", 5060), (host, 5070), 0, 0, ())


def begin(one: Stage, name: str, host: str, speaker: Speaker) -> tuple[LiveCall, list[int]]:
    """Place a call from an address; give it and its ports."""
    hear(one, sip_request("INVITE", name, 1, speaker.offer(host)), flow_of(host))
    (call,) = one.live
    return call, [stream.port for stream in call.recording.streams]


async def speak(one: Stage, call: LiveCall, speaker: Speaker, ports: list[int]) -> None:
    """Send, and wait until the worker has taken what was sent."""
    speaker.speak(ports)
    await one.resources.workers.snapshot(call.id)


async def end(one: Stage, name: str) -> None:
    """Hang up, from where the call came."""
    (call,) = one.live
    hear(one, sip_request("BYE", name, 9, to=one.tag()), flow_of(call.recording.source or ""))
    await one.until(lambda: not len(one.live))


def stored(one: Stage, customer: str) -> Counter[bytes]:
    """Count the packets in a customer's recordings by the letter that they are made of."""
    vault = one.customers[customer].vault
    found: Counter[bytes] = Counter()
    for ref in vault.walk():
        for record in record_format.read(vault.read(ref)):
            if isinstance(record, record_format.Run | record_format.Mixed):
                found.update(bytes(payload[:1]) for payload in record.payloads)
            elif isinstance(record, record_format.Packet):
                found.update([record.packet[12:13]])
    return found


@pytest.mark.parametrize("cool_down", [0.0])
async def test_the_next_call_on_a_port_ignores_the_old_sender(one: Stage) -> None:
    with Speaker(ACME, b"A") as old, Speaker(GLOBEX, b"G") as new:
        first, ports = begin(one, "c1", ACME, old)
        await speak(one, first, old, ports)
        await end(one, "c1")
        assert stored(one, "acme") == {b"A": 2 * PACKETS}
        second, again = begin(one, "c2", GLOBEX, new)
        assert sorted(again) == sorted(ports)
        await speak(one, second, old, again)  # before the rightful one says a word
        new.speak(again)
        await speak(one, second, old, again)
        old.speak(again)
        await end(one, "c2")
    assert stored(one, "globex") == {b"G": 2 * PACKETS}
    assert stored(one, "acme") == {b"A": 2 * PACKETS}
    assert sum(s.figures["foreign"] for s in second.recording.streams) >= 2 * PACKETS
