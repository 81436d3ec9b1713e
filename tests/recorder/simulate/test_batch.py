import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from media.rtp import header
from recorder.simulate import coded
from recorder.simulate.batch import PROFILES, Batch, Source, random_number, receiver, sender, socket_name
from recorder.simulate.plan import SUITES


@pytest.fixture
def places() -> Iterator[list[socket.socket]]:
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for place in made:
        place.bind(("127.0.0.1", 0))
        place.settimeout(1)
    yield made
    for place in made:
        place.close()


def source(place: socket.socket, **fields: Any) -> Source:
    base = {"ssrc": 9, "payload_type": 8, "sequence": 65_000, "timestamp": 2**32 - 160, "step": 160, "session": None}
    return Source(socket_name(*place.getsockname()), **(base | fields))


@pytest.mark.parametrize("suite", [*SUITES, None])
def test_each_stream_gets_its_own_packet(suite: str | None, places: list[socket.socket]) -> None:
    key = bytes(range(SUITES.get(suite or "", 0)))
    batch = Batch(places[0].fileno())
    masks = [coded.stream_mask("PCMA", 1, 2, i) for i in range(2)]
    batch.arrange(source(places[1 + i], mask=masks[i], ssrc=9 + i, session=sender(suite, key)) for i in range(2))
    for tick in (535, 536):
        batch.send(tick, coded.frame_mask(tick))
    for i in range(2):
        opener = (
            Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILES[suite])) if suite else None
        )
        for tick in (535, 536):
            packet = places[1 + i].recv(2048)
            plain = opener.unprotect(packet) if opener else packet
            _, payload_type, sequence, timestamp, ssrc, begin, end = header.parse(plain)
            assert (payload_type, sequence, ssrc) == (8, (65_000 + tick) % 65_536, 9 + i)
            assert timestamp == (tick - 1) * 160
            assert plain[begin:end] == coded.payload("PCMA", 1, 2, i, tick)
    assert batch.errors == 0


def test_frames_are_sent_in_turn_and_refusals_counted(places: list[socket.socket]) -> None:
    batch = Batch(places[0].fileno())
    batch.arrange([])
    batch.send(0, 0)
    assert (len(batch), batch.errors) == (0, 0)
    nowhere = source(places[2], frames=[b"x"])
    nowhere.name = socket_name("255.255.255.255", 9)
    batch.arrange([nowhere, source(places[1], frames=[b"a", b"bcd"])])
    for tick in range(3):
        batch.send(tick, 0)
    assert [places[1].recv(2048)[12:] for _ in range(3)] == [b"a", b"bcd", b"a"] and batch.errors == 3


def test_small_parts_of_a_batch() -> None:
    assert len(socket_name("192.0.2.1", 5)) == 16 and len(socket_name("2001:db8::1", 5)) == 28
    assert receiver("AES_CM_128_HMAC_SHA1_80", b"") is None and receiver(None, b"k") is None
    assert all(random_number(15) < 2**15 for _ in range(100))
