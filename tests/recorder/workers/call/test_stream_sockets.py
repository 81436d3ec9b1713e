"""Descriptors of a stream inside a worker, and reading what a spool holds."""

import os
import socket
import struct

import pytest

from media.receive.batch import SLOTS
from media.spec import StreamSpec
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from recorder.workers.stream_sockets import StreamSockets

NAME = struct.pack("=H", socket.AF_INET) + bytes((0, 9, 127, 0, 0, 1)) + bytes(8)
"""127.0.0.1, port 9, as the kernel names it."""


def track() -> ReceivedStream:
    return ReceivedStream(StreamSpec(0), Pauses(), 1)


def opened(count: int) -> list[int]:
    return [socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach() for _ in range(count)]


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("count", [0, 1, 2], ids=["a removed stream", "RTP", "RTP and RTCP"])
def test_every_socket_of_a_stream_is_closed_once(count: int) -> None:
    descriptors = opened(count)
    lanes = StreamSockets(track(), descriptors)
    assert [lanes.rtp, lanes.rtcp] == [*descriptors, -1, -1][:2]
    lanes.close()
    assert not any(map(is_open, descriptors))


@pytest.mark.parametrize(
    ("pure", "key", "waits"), [(True, b"k" * 30, False), (True, b"", True), (False, b"k" * 30, True)]
)
def test_a_released_socket_waits_unless_a_key_authenticates(pure: bool, key: bytes, waits: bool) -> None:
    suite = "AES_CM_128_HMAC_SHA1_80" if key else None
    lanes = StreamSockets(ReceivedStream(StreamSpec(0, suite, key), Pauses(), 1), opened(1))
    assert not lanes.let_go
    lanes.stream.latch.connected, lanes.stream.latch.pure = True, pure
    assert lanes.let_go == waits
    with socket.socket(fileno=os.dup(lanes.rtp)) as same:
        same.connect(("127.0.0.1", 9))
    assert not lanes.let_go
    lanes.close()


def peer(lanes: StreamSockets) -> tuple[str, int] | None:
    with socket.socket(fileno=os.dup(lanes.rtp)) as same:
        try:
            name = same.getpeername()
        except OSError:
            return None
        return str(name[0]), int(name[1])


def test_a_socket_is_connected_to_its_source_and_then_drained() -> None:
    lanes = StreamSockets(track(), opened(1))
    lanes.settle(5)
    assert (peer(lanes), lanes.stream.latch.pure) == (None, False)
    lanes.stream.latch.name = lanes.stream.latch.wish = NAME
    lanes.settle(5)
    assert (peer(lanes), lanes.stream.latch.connected, lanes.stream.latch.pure) == (("127.0.0.1", 9), True, False)
    drained = []
    for count in (SLOTS, 5):
        lanes.settle(count)
        drained.append(lanes.stream.latch.pure)
    assert drained == [False, True]
    lanes.close()


@pytest.mark.parametrize("trial", [0, 1])
def test_an_ended_provisional_stream_keeps_its_source_connected(trial: int) -> None:
    """Or the next call at that port would hear them too."""
    lanes = StreamSockets(track(), opened(1))
    lanes.stream.spec.source = ("127.0.0.1", 9 - trial)
    lanes.stream.latch.name = NAME
    lanes.decide()
    assert peer(lanes) == (("127.0.0.1", 9) if trial else None)
    lanes.close()
    StreamSockets(lanes.stream, []).decide()
