"""The offer that rtpengine makes for OpenSIPS' siprec module, recorded: a call relayed by it, forked to the daemon."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from bench import ng
from sip.sdp.description import SessionDescription
from tests.daemon.api import Api, running, until
from tests.daemon.kills import kill, worker_of
from tests.daemon.sbc import Sbc
from tests.daemon.server import free_port

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        shutil.which("rtpengine") is None, reason="rtpengine is not installed (apt-get install rtpengine)"
    ),
]
HOST = "127.0.0.1"
PACKETS = 60


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ng.Control]:
    # Media above the ports the kernel hands out by itself.
    words = ("--port-min=61100", "--port-max=61499", "--num-threads=1", "--timeout=60")
    with ng.running(tmp_path_factory.mktemp("relay"), (HOST, free_port()), *words) as (_, control):
        yield control


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("rtpengine"), ports=200) as it:
        yield it


Phones = list[tuple[socket.socket, int]]
"""Each phone's socket and the port of the relay it sends to."""


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Close what a story opens."""
    with ExitStack() as stack:
        yield stack


def phone(number: int, opened: ExitStack) -> tuple[socket.socket, str]:
    """Open the media socket of a phone and describe it."""
    mine = opened.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    mine.bind((HOST, 0))
    port = mine.getsockname()[1]
    lines = f"v=0\r\no=- {number} 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
    return mine, lines + "a=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"


def forked(relay: ng.Control, opened: ExitStack, call: str, **how: object) -> tuple[dict[str, object], Phones]:
    """Set a call up through the relay and ask for the recorder's copy; give the offer, and where each phone sends."""
    (one, offer), (two, answer) = phone(1, opened), phone(2, opened)
    to_two = relay.ask("offer", call_id=call, from_tag="a", sdp=offer, replace=["origin"])
    to_one = relay.ask("answer", call_id=call, from_tag="a", to_tag="b", sdp=answer, replace=["origin"])
    ports = [int(re.findall(r"m=audio (\d+)", str(text["sdp"]))[0]) for text in (to_one, to_two)]
    made = relay.ask("subscribe request", call_id=call, flags=["all", "siprec"], **how)
    return made, [(one, ports[0]), (two, ports[1])]


def send(phones: Phones, number: int) -> None:
    """Let each phone send one packet."""
    for who, (mine, port) in enumerate(phones):
        header = bytes((0x80, 8)) + (1000 + number).to_bytes(2, "big") + (160 * number).to_bytes(4, "big")
        mine.sendto(header + (0xABC0 + who).to_bytes(4, "big") + bytes([0x55 + who]) * 160, (HOST, port))


def talk(phones: Phones) -> None:
    """Let both phones send a second of audio."""
    for number in range(PACKETS):
        send(phones, number)
        time.sleep(0.02)


class Talk:
    """Both phones sending audio all the time."""

    def __init__(self, phones: Phones) -> None:
        self._phones, self._stop, self.sent = phones, threading.Event(), 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Talk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set():
            send(self._phones, self.sent)
            self.sent += 1
            self._stop.wait(max(0.0, began + 0.02 * self.sent - time.monotonic()))


def agree(relay: ng.Control, sbc: Sbc, made: dict[str, object], wait: float = 0.0) -> bytes:
    """Take an offer of the relay to the daemon, and bring the answer back so many seconds later; return it."""
    sbc.acknowledges = False
    answer = sbc.ask("INVITE", str(made["sdp"]).encode())
    assert answer.status == 200
    time.sleep(wait)
    sbc.acknowledges = True
    sbc.acknowledge()
    to, sdp = made["to-tag"], answer.body.decode()
    relay.ask("subscribe answer", call_id=sbc.call, to_tag=to, sdp=sdp, flags=["allow-transcoding"])
    return answer.body


def ended(it: Api, sbc: Sbc, packets: int) -> list[dict[str, Any]]:
    """Hang up once so many packets of each stream are stored, or in vain; return the streams of the call."""
    (call,) = until(lambda: [c for c in it.calls() if c["session_id"] == sbc.call])

    def stored() -> bool:
        streams = it.get(f"/calls/{call['id']}").json()["streams"]
        return all(stream["packets"] >= packets for stream in streams)

    with suppress(TimeoutError):
        until(stored)
    assert sbc.ask("BYE").status == 200
    (call,) = until(lambda: [c for c in it.calls() if (c["session_id"], c["state"]) == (sbc.call, "complete")])
    return list(call["streams"])


def whole(streams: list[dict[str, Any]], sent: int) -> bool:
    return [(s["packets"], s["rejected"], s["lost"], s["gap_ms"]) for s in streams] == [(sent, 0, 0, 0)] * 2


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/SAVP", "RTP/SAVPF"])
def test_a_forked_call_is_recorded_packet_by_packet(
    relay: ng.Control, it: Api, opened: ExitStack, protocol: str
) -> None:
    call = f"fork-{protocol.replace('/', '-')}"
    made, phones = forked(relay, opened, call, transport_protocol=protocol)
    offer = SessionDescription.parse(str(made["sdp"]).encode())
    assert [media.direction for media in offer.media] == ["sendonly"] * 2
    assert all(media.label for media in offer.media)
    with it.one.sbc("tcp", call) as sbc:
        agree(relay, sbc, made)
        talk(phones)
        streams = ended(it, sbc, PACKETS)
    assert [(stream["packets"], stream["rejected"]) for stream in streams] == [(PACKETS, 0)] * 2
    assert {stream["srtp"] for stream in streams} == ({"AEAD_AES_256_GCM"} if "SAVP" in protocol else {None})


@pytest.mark.parametrize("first", ["", "AES_CM_128_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80"])
@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4])
def test_nothing_is_lost_at_a_reoffer_with_a_late_answer(
    relay: ng.Control, it: Api, opened: ExitStack, delay: float, first: str
) -> None:
    """From a re-offer until our answer is there it sends under the first line of the offer, whatever we answered."""
    call = f"again-{int(delay * 1000)}-{first}"
    order = {"SDES": [f"order:{first}"]} if first else {}
    made, phones = forked(relay, opened, call, transport_protocol="RTP/SAVP", **order)
    lines = re.findall(r"a=crypto:\d+ (\S+)", str(made["sdp"]))
    assert len(lines) > 8 and lines[0] == (first or "AEAD_AES_256_GCM")
    with it.one.sbc("tcp", call) as sbc:
        agree(relay, sbc, made)
        with Talk(phones) as talk:
            time.sleep(0.6)
            for _ in range(2):
                how = {"to_tag": made["to-tag"], "transport_protocol": "RTP/SAVP", **order}
                made = relay.ask("subscribe request", call_id=call, flags=["all", "siprec"], **how)
                agree(relay, sbc, made, delay)
                time.sleep(0.6)
        assert whole(ended(it, sbc, talk.sent), talk.sent)


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3])
def test_nothing_is_lost_at_a_reoffer_in_which_the_worker_dies(
    relay: ng.Control, it: Api, opened: ExitStack, moment: float
) -> None:
    """Killed so long after the offer; the answer takes 200 ms, and then another offer follows at once."""
    call = f"killed-{int(moment * 1000)}"
    how: dict[str, object] = {"transport_protocol": "RTP/SAVP", "SDES": ["order:AES_CM_128_HMAC_SHA1_32"]}
    made, phones = forked(relay, opened, call, **how)
    with it.one.sbc("tcp", call) as sbc:
        agree(relay, sbc, made)
        with Talk(phones) as talk:
            time.sleep(0.6)
            killer = threading.Timer(moment, kill, (worker_of(it),))
            killer.start()
            for _ in range(2):
                to = made["to-tag"]
                made = relay.ask("subscribe request", call_id=call, flags=["all", "siprec"], to_tag=to, **how)
                agree(relay, sbc, made, 0.2)
            killer.join()
            time.sleep(0.6)
        assert whole(ended(it, sbc, talk.sent), talk.sent)


@pytest.mark.parametrize("role", ["active", "passive"])
@pytest.mark.parametrize("protocol", ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"])
def test_a_call_forked_with_dtls_is_recorded_completely_d1_d7(
    relay: ng.Control, it: Api, opened: ExitStack, protocol: str, role: str
) -> None:
    call = f"fork-{protocol.replace('/', '-')}-{role}"
    made, phones = forked(relay, opened, call, transport_protocol=protocol, DTLS=role, SDES=["off"])
    keyed = 'recorder_dtls_handshakes_total{result="keyed"}'
    with it.one.sbc("tcp", call) as sbc:
        before = it.figure(keyed)
        ports = 1 if b"a=rtcp-mux" in agree(relay, sbc, made) else 2
        until(lambda: it.figure(keyed) >= before + 2 * ports)
        talk(phones)
        streams = ended(it, sbc, PACKETS)
    assert [(s["srtp"], s["packets"], s["rejected"]) for s in streams] == [("DTLS-SRTP", PACKETS, 0)] * 2


def test_a_subscription_needs_a_tag_of_its_own(relay: ng.Control, opened: ExitStack) -> None:
    """Kamailio passes the To tag of the message on; as the tag of the subscription it is that of a phone."""
    for tag, formats in (("subscription", [["8"], ["8"]]), ("b", [[], ["8"]])):
        made, _ = forked(relay, opened, f"tag-{tag}", to_tag=tag)
        lines = [line.split()[3:] for line in str(made["sdp"]).splitlines() if line.startswith("m=")]
        assert lines == formats
