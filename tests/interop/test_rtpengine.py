"""The offer that rtpengine makes for OpenSIPS' siprec module, recorded: a call relayed by it, forked to the daemon."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from bench import ng
from sip.message.message import Response, parse
from sip.sdp.answer import Policy, plan
from sip.sdp.description import SessionDescription
from tests.daemon.server import Server, free_port, server
from tests.interop.recorded import the_call

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
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("rtpengine"), ports=200) as one:
        one.init()
        one.start()
        yield one


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
    ports = [int(re.search(r"m=audio (\d+)", str(text["sdp"]))[1]) for text in (to_one, to_two)]  # type: ignore[index]  # an answer without it fails the test
    made = relay.ask("subscribe request", call_id=call, flags=["all", "siprec"], **how)
    return made, [(one, ports[0]), (two, ports[1])]


def talk(phones: Phones) -> None:
    """Let both phones send a second of audio."""
    for n in range(PACKETS):
        for who, (mine, port) in enumerate(phones):
            header = bytes((0x80, 8)) + (1000 + n).to_bytes(2, "big") + (160 * n).to_bytes(4, "big")
            mine.sendto(header + (0xABC0 + who).to_bytes(4, "big") + bytes([0x55 + who]) * 160, (HOST, port))
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
            for who, (mine, port) in enumerate(self._phones):
                header = bytes((0x80, 8)) + (1000 + self.sent).to_bytes(2, "big") + (160 * self.sent).to_bytes(4, "big")
                mine.sendto(header + (0xABC0 + who).to_bytes(4, "big") + bytes([0x55 + who]) * 160, (HOST, port))
            self.sent += 1
            self._stop.wait(max(0.0, began + 0.02 * self.sent - time.monotonic()))


class Client:
    """What OpenSIPS does with the offer."""

    def __init__(self, daemon: Server, call: str) -> None:
        self.connection = socket.create_connection((HOST, daemon.udp), timeout=30)
        self.call, self.to, self.cseq = call, "", 0

    def request(self, method: str, body: bytes = b"") -> Response | None:
        """Send a request; give the final answer, None for ACK."""
        self.cseq += method != "ACK"
        port = self.connection.getsockname()[1]
        kind = "Content-Type: application/sdp\r\n" if body else ""
        head = (
            f"{method} sip:rec@{HOST} SIP/2.0\r\n"
            f"Via: SIP/2.0/TCP {HOST}:{port};branch=z9hG4bK{self.call}{method}{self.cseq}\r\n"
            f"From: <sip:rec@{HOST}>;tag=t\r\nTo: <sip:rec@{HOST}>{self.to}\r\nCall-ID: {self.call}\r\n"
            f"CSeq: {self.cseq} {method}\r\nContact: <sip:{HOST}:{port};transport=tcp>;+sip.src\r\n"
            f"Require: siprec\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
        )
        self.connection.sendall(head.encode() + body)
        while method != "ACK":
            answer = self._read()
            if answer.status >= 200:
                self.to = ";tag=" + (answer.headers.get("To") or "").partition(";tag=")[2]
                return answer
        return None

    def _read(self) -> Response:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.connection.recv(65_535)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]  # ours always has one
        while len(body) < length:
            body += self.connection.recv(65_535)
        answer = parse(head + b"\r\n\r\n" + body)
        assert isinstance(answer, Response)
        return answer


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/SAVP", "RTP/SAVPF"])
def test_a_forked_call_is_recorded_packet_by_packet(
    relay: ng.Control, daemon: Server, opened: ExitStack, protocol: str
) -> None:
    call = f"fork-{protocol.replace('/', '-')}"
    made, phones = forked(relay, opened, call, transport_protocol=protocol)
    offer = SessionDescription.parse(str(made["sdp"]).encode())
    assert [media.direction for media in offer.media] == ["sendonly"] * 2
    assert all(media.label for media in offer.media)
    client = Client(daemon, call)
    opened.enter_context(client.connection)
    answer = client.request("INVITE", str(made["sdp"]).encode())
    assert answer is not None and answer.status == 200
    client.request("ACK")
    relay.ask(
        "subscribe answer", call_id=call, to_tag=made["to-tag"], sdp=answer.body.decode(), flags=["allow-transcoding"]
    )
    talk(phones)
    ended = client.request("BYE")
    assert ended is not None and ended.status == 200
    found = the_call(daemon, call)
    streams = found["streams"]
    assert [stream["packets"] for stream in streams] == [PACKETS, PACKETS]
    assert {stream["srtp"] for stream in streams} == ({"AEAD_AES_256_GCM"} if "SAVP" in protocol else {None})
    assert {stream["rejected"] for stream in streams} == {0}


def agree(relay: ng.Control, client: Client, call: str, made: dict[str, object], wait: float = 0.0) -> None:
    """Take an offer of the relay to the daemon, and bring the answer back so many seconds later."""
    answer = client.request("INVITE", str(made["sdp"]).encode())
    assert answer is not None and answer.status == 200
    time.sleep(wait)
    client.request("ACK")
    to, sdp = made["to-tag"], answer.body.decode()
    relay.ask("subscribe answer", call_id=call, to_tag=to, sdp=sdp, flags=["allow-transcoding"])


def ended_with(daemon: Server, client: Client, call: str) -> list[tuple[int, int, int, int]]:
    """Hang up; give packets, rejected, lost and missing ms of each stream."""
    time.sleep(0.3)  # what is on its way
    ended = client.request("BYE")
    assert ended is not None and ended.status == 200
    return [(s["packets"], s["rejected"], s["lost"], s["gap_ms"]) for s in the_call(daemon, call)["streams"]]


@pytest.mark.parametrize("first", ["", "AES_CM_128_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80"])
@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4])
def test_nothing_is_lost_at_a_reoffer_with_a_late_answer(
    relay: ng.Control, daemon: Server, opened: ExitStack, delay: float, first: str
) -> None:
    """From a re-offer until our answer is there it sends under the first line of the offer, whatever we answered."""
    call = f"again-{int(delay * 1000)}-{first}"
    order = {"SDES": [f"order:{first}"]} if first else {}
    made, phones = forked(relay, opened, call, transport_protocol="RTP/SAVP", **order)
    lines = re.findall(r"a=crypto:\d+ (\S+)", str(made["sdp"]))
    assert len(lines) > 8 and lines[0] == (first or "AEAD_AES_256_GCM")
    client = Client(daemon, call)
    opened.enter_context(client.connection)

    agree(relay, client, call, made)
    with Talk(phones) as talk:
        time.sleep(0.6)
        for _ in range(2):
            how = {"to_tag": made["to-tag"], "transport_protocol": "RTP/SAVP", **order}
            made = relay.ask("subscribe request", call_id=call, flags=["all", "siprec"], **how)
            agree(relay, client, call, made, delay)
            time.sleep(0.6)
    assert ended_with(daemon, client, call) == [(talk.sent, 0, 0, 0)] * 2


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3])
def test_nothing_is_lost_at_a_reoffer_in_which_the_worker_dies(
    relay: ng.Control, daemon: Server, opened: ExitStack, moment: float
) -> None:
    """Killed so long after the offer; the answer takes 200 ms, and then another offer follows at once."""
    call = f"killed-{int(moment * 1000)}"
    how: dict[str, object] = {"transport_protocol": "RTP/SAVP", "SDES": ["order:AES_CM_128_HMAC_SHA1_32"]}
    made, phones = forked(relay, opened, call, **how)
    client = Client(daemon, call)
    opened.enter_context(client.connection)

    agree(relay, client, call, made)
    with Talk(phones) as talk:
        time.sleep(0.6)
        killer = threading.Timer(moment, os.kill, (worker_of(daemon), signal.SIGKILL))
        killer.start()
        for wait in (0.2, 0.2):
            made = relay.ask("subscribe request", call_id=call, flags=["all", "siprec"], to_tag=made["to-tag"], **how)
            agree(relay, client, call, made, wait)
        killer.join()
        time.sleep(0.6)
    assert ended_with(daemon, client, call) == [(talk.sent, 0, 0, 0)] * 2


@pytest.mark.parametrize("role", ["active", "passive"])
@pytest.mark.parametrize("protocol", ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"])
def test_a_call_forked_with_dtls_is_recorded_completely_d1_d7(
    relay: ng.Control, daemon: Server, opened: ExitStack, protocol: str, role: str
) -> None:
    call = f"fork-{protocol.replace('/', '-')}-{role}"
    made, phones = forked(relay, opened, call, transport_protocol=protocol, DTLS=role, SDES=["off"])
    client = Client(daemon, call)
    opened.enter_context(client.connection)
    before = handshakes(daemon)
    answer = client.request("INVITE", str(made["sdp"]).encode())
    assert answer is not None and answer.status == 200
    client.request("ACK")
    relay.ask(
        "subscribe answer", call_id=call, to_tag=made["to-tag"], sdp=answer.body.decode(), flags=["allow-transcoding"]
    )
    ports = 1 if b"a=rtcp-mux" in answer.body else 2
    end = time.monotonic() + 30
    while handshakes(daemon) < before + 2 * ports and time.monotonic() < end:
        time.sleep(0.05)
    talk(phones)
    ended = client.request("BYE")
    assert ended is not None and ended.status == 200
    found = the_call(daemon, call)
    assert [(s["srtp"], s["packets"], s["rejected"]) for s in found["streams"]] == [("DTLS-SRTP", PACKETS, 0)] * 2


def test_its_offers_with_dtls_are_read_d1_d2(relay: ng.Control, opened: ExitStack) -> None:
    made, _ = forked(relay, opened, "fork-dtls", transport_protocol="UDP/TLS/RTP/SAVPF", DTLS="active", SDES=["off"])
    offer = SessionDescription.parse(str(made["sdp"]).encode())
    plans = plan(offer, Policy("required", dtls=True))
    assert [line.accepted for line in plans] == [True, True]
    assert all(line.answer_setup in ("active", "passive") and line.fingerprints for line in plans)


def worker_of(daemon: Server) -> int:
    """The process that records."""
    assert daemon.process
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    return int(next(p for p in children if b"recorder.workers.process" in Path(f"/proc/{p}/cmdline").read_bytes()))


def handshakes(daemon: Server) -> float:
    """How many gave keys so far."""
    page = httpx2.get(f"http://{HOST}:{daemon.api}/metrics", timeout=30).text
    return float(re.search(r'recorder_dtls_handshakes_total{result="keyed"} (\S+)', page)[1])  # type: ignore[index]  # it is always there


def test_bencode_comes_back() -> None:
    value = {"a": [1, "b", {"c": "ü"}], "d": "e"}
    assert ng.decode(ng.encode(value))[0] == value


def test_a_subscription_needs_a_tag_of_its_own(relay: ng.Control, opened: ExitStack) -> None:
    """Kamailio passes the To tag of the message on; as the tag of the subscription it is that of a phone."""
    for tag, formats in (("subscription", [["8"], ["8"]]), ("b", [[], ["8"]])):
        made, _ = forked(relay, opened, f"tag-{tag}", to_tag=tag)
        lines = [line.split()[3:] for line in str(made["sdp"]).splitlines() if line.startswith("m=")]
        assert lines == formats
