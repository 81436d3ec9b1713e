"""Re-offers of a line, listened to: holds that leave things out, and what is on its way while a stream changes."""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest

from media.codecs.decoders import Format
from media.receive.sockets import open_pair
from media.rtp import header
from recorder.calls import fd_store
from recorder.calls.live_call import LiveCall
from recorder.exports.render_sources import render_streams
from tests.in_process.recorder_node import CONFIG, Stage, sip_request
from tests.in_process.rendered_calls import listen
from tests.media.codecs.test_decoders import amr_frames, bandwidth_efficient, sound_of
from tests.recorder.calls.client import hang_up
from tests.recorder.calls.restart import kill_worker, resumed

FRAMES = amr_frames()
ALIGNED = [b"\xf0" + frame for frame in FRAMES]
PACKED = [bandwidth_efficient(frame) for frame in FRAMES]
ALIGNED_FORM = Format("AMR", 8000, 1, "octet-align=1")
AMR = "a=rtpmap:96 AMR/8000\r\n"
OCTETS = "a=fmtp:96 octet-align=1; mode-set=7\r\n"
FORMS = {AMR: (Format("AMR", 8000), PACKED), AMR + OCTETS: (ALIGNED_FORM, ALIGNED)}
"""How payloads are packed under these attributes, and payloads that are."""


@pytest.fixture
def config() -> str:
    return CONFIG.replace("[keys]", 'srtp = "preferred"\n[keys]')


def offer(attributes: str, direction: str = "sendonly", payload: int = 96) -> bytes:
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio 40000 RTP/AVP {payload}\r\na=label:1\r\n{attributes}a={direction}\r\n"
    ).encode()


def metadata(*sends: str) -> bytes:
    links = "".join(f"<send>{stream}</send>" for stream in sends)
    return (
        '<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode><session session_id="S"/>'
        '<participant participant_id="p"><nameID aor="sip:+493010@pbx.example"/></participant>'
        '<stream stream_id="s" session_id="S"><label>1</label></stream>'
        f'<participantstreamassoc participant_id="p">{links}</participantstreamassoc></recording>'
    ).encode()


class Phone:
    """Sends 20 ms of sound a packet, as one source whose numbers go on."""

    def __init__(self) -> None:
        self.socket, self.number = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
        self.socket.bind(("127.0.0.1", 0))

    def say(self, port: int, payloads: Sequence[bytes], kind: int = 96, source: int = 7) -> None:
        for payload in payloads:
            self.number += 1
            self.socket.sendto(header.build(kind, self.number, self.number * 160, source, payload), ("127.0.0.1", port))


@pytest.fixture
def phone() -> Iterator[Phone]:
    one = Phone()
    yield one
    one.socket.close()


def turn(one: Stage, cseq: int, sdp: bytes, about: bytes = b"") -> None:
    """Send a re-INVITE, with metadata or without, and acknowledge its answer."""
    body, kind = sdp, "application/sdp"
    if about:
        parts = (b"application/sdp", sdp), (b"application/rs-metadata+xml", about)
        body = b"".join(b"--x\r\nContent-Type: %s\r\n\r\n%s\r\n" % part for part in parts) + b"--x--\r\n"
        kind = "multipart/mixed;boundary=x"
    again = sip_request("INVITE", "c1", cseq, body, to=one.tag()).replace(b"application/sdp", kind.encode(), 1)
    one.hear(again, sip_request("ACK", "c1", cseq, to=one.tag()))
    assert one.statuses("INVITE") == [200] * cseq


async def heard(one: Stage, call: LiveCall) -> list[array[int]]:
    """End the call and give what each of its streams sounds like."""
    await hang_up(one)
    streams: Any = render_streams(call.recording.call_document(one.node.now())["streams"])
    vault = call.customer.vault
    parts = [ref for ref in vault.parts(call.id, call.leaf) if ref.part.startswith("m")]
    return listen(b"".join(chunk for ref in parts for chunk in vault.read(ref)), *streams)[0]


def place(one: Stage, attributes: str = AMR + OCTETS, direction: str = "sendonly") -> tuple[LiveCall, int]:
    call = one.invite(offer=offer(attributes, direction))
    return call, call.recording.streams[0].port


HOLDS = [
    ("fmtp left out", offer(AMR, "inactive"), b""),
    ("rtpmap left out", offer("", "inactive"), b""),
    ("half of fmtp left out", offer(AMR + "a=fmtp:96 mode-set=7\r\n", "inactive"), b""),
    ("by the address", offer(AMR).replace(b"IN IP4 127.0.0.1", b"IN IP4 0.0.0.0"), b""),
    ("by the metadata alone", offer(AMR), metadata()),
    ("by the metadata, the label left out", offer(AMR).replace(b"a=label:1\r\n", b""), metadata()),
]


@pytest.mark.parametrize(("hold", "about"), [hold[1:] for hold in HOLDS], ids=[hold[0] for hold in HOLDS])
async def test_a_hold_that_omits_codec_parameters_changes_nothing_r15(
    one: Stage, phone: Phone, hold: bytes, about: bytes
) -> None:
    """How AMR is packed stands in its parameters: many a client leaves them out while nothing is sent."""
    call, port = place(one)
    phone.say(port, ALIGNED[:25])
    turn(one, 2, offer(AMR + OCTETS), metadata("s"))
    turn(one, 3, hold, about)
    assert [stream.held for stream in call.recording.streams] == [True]
    turn(one, 4, offer(AMR + OCTETS), metadata("s"))
    assert [stream.held for stream in call.recording.streams] == [False]
    phone.say(port, ALIGNED[25:])
    (sound,) = await heard(one, call)
    expected, errors = sound_of(ALIGNED_FORM, ALIGNED)
    assert errors == 0
    assert expected.tobytes() in sound.tobytes()


@pytest.mark.parametrize(
    ("first", "hold", "second"),
    [
        pytest.param(AMR + OCTETS, AMR, AMR, id="left out"),
        pytest.param(AMR + OCTETS, AMR + OCTETS, AMR, id="as before"),
        pytest.param(AMR, AMR, AMR + OCTETS, id="aligned later"),
    ],
)
async def test_a_line_repacked_after_a_hold_begins_another_stream_r15(
    one: Stage, phone: Phone, first: str, hold: str, second: str
) -> None:
    call, port = place(one, first)
    phone.say(port, FORMS[first][1][:25])
    turn(one, 2, offer(hold, "inactive"))
    turn(one, 3, offer(second))
    phone.say(call.recording.streams[1].port, FORMS[second][1][25:])
    for form, sound, part in zip((first, second), await heard(one, call), (slice(25), slice(25, None)), strict=True):
        coding, payloads = FORMS[form]
        assert sound_of(coding, payloads[part])[0].tobytes() in sound.tobytes()


async def received(one: Stage, call: LiveCall, packets: int) -> None:
    """Wait until the worker has this many packets: the kernel may deliver them late."""
    async with asyncio.timeout(30):
        while (
            sum(int(each["packets"] or 0) for each in (await one.resources.workers.snapshot(call.id)).figures) < packets
        ):
            await asyncio.sleep(0.02)


async def nobody_dies(one: Stage, call: LiveCall) -> LiveCall:
    await one.resources.workers.snapshot(call.id)
    return call


async def worker_dies(one: Stage, call: LiveCall) -> LiveCall:
    kill_worker(one)
    await one.until(lambda: call.files.media_part == 2)
    await one.resources.workers.snapshot(call.id)
    return call


async def everybody_dies(one: Stage, call: LiveCall) -> LiveCall:
    """Main and worker at once, when all is stored; what the service manager keeps of the sockets is kept."""
    await one.resources.workers.snapshot(call.id)
    kept = {call.sockets.name: [socket.socket(fileno=os.dup(each)) for each in call.sockets.descriptors()]}
    again = resumed(one, call, kept)
    await one.resources.workers.snapshot(call.id)
    return again


@pytest.mark.parametrize("dies", [nobody_dies, worker_dies, everybody_dies])
async def test_packets_to_the_old_port_before_the_answer_are_kept_r15(
    one: Stage,
    phone: Phone,
    monkeypatch: pytest.MonkeyPatch,
    dies: Callable[[Stage, LiveCall], Coroutine[Any, Any, LiveCall]],
) -> None:
    """A client speaks as before until our answer reaches it: for a round trip, to the port of before."""
    there = asyncio.Event()
    monkeypatch.setattr(fd_store, "linger", there.wait)
    named = b"audio %d " % phone.socket.getsockname()[1]
    call = one.invite(offer=offer(AMR + OCTETS).replace(b"audio 40000 ", named))
    port = call.recording.streams[0].port
    phone.say(port, ALIGNED[:25])
    turn(one, 2, offer(AMR).replace(b"audio 40000 ", named))
    phone.say(port, ALIGNED[25:40])
    call = await dies(one, call)
    phone.say(port, ALIGNED[40:])
    fresh = call.recording.streams[1].port
    phone.say(fresh, PACKED, source=8)
    await received(one, call, len(ALIGNED) + len(PACKED))
    there.set()
    await one.until(lambda: list(call.sockets.pairs) == [1])
    assert [stream.port for stream in call.recording.streams] == [0, fresh]
    (left,) = one.checkpoints.left()
    state = one.checkpoints.unseal(left, call.customer.keys) or {}
    ports = [stream["port"] for stream in state["recording"]["streams"]]
    assert ports == [0, fresh]  # the other may be another call's by now
    open_pair("127.0.0.1", port).close()  # no worker hears it
    assert one.resources.ports.former(port) == ((*phone.socket.getsockname(), (7,)),)  # not heard in the next call
    before, after = await heard(one, call)
    assert sound_of(ALIGNED_FORM, ALIGNED)[0].tobytes() in before.tobytes()
    assert sound_of(Format("AMR", 8000), PACKED)[0].tobytes() in after.tobytes()
