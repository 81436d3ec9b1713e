"""A source that moves by a re-offer before the worker has heard of it: nothing of it is lost, nothing else is taken."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from media.receive.sockets import connect, connected, disconnect
from media.rtp import header
from media.stream import checkpoint
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from recorder.workers.stream_sockets import newest_slot
from tests.in_process.recorded_call import RecordedCall, recorded_call

STRANGER = "127.0.0.3"
ELSEWHERE = "127.0.0.2"


@contextmanager
def moving(folder: Path, srtp: bool, **offer: object) -> Iterator[RecordedCall]:
    """Have one stream whose source was chosen, and to which the kernel lets nobody else."""
    with recorded_call(folder, 1, srtp) as one:
        one.specs = (replace(one.specs[0], **({"learn": False} | offer)),)  # type: ignore[arg-type]  # test shorthand
        one.change(*one.specs, sockets=True)
        one.send(5)
        one.tick()
        assert connected(one.recorder.sockets[0].rtp)
        yield one


def settle(one: RecordedCall) -> None:
    """Let the socket be emptied once more: all in it is then of the source that was chosen."""
    one.send(1)
    one.tick()
    one.tick()
    assert one.recorder.sockets[0].stream.latch.pure


def move(one: RecordedCall) -> None:
    """Do what main does with a re-offer before a worker has its turn."""
    sender = one.senders[0]
    sender.socket.close()
    sender.socket = socket.socket(type=socket.SOCK_DGRAM)
    sender.socket.bind((ELSEWHERE, 0))
    one.specs = (replace(one.specs[0], source=sender.socket.getsockname()),)
    disconnect(one.pairs[0].rtp.fileno())


def intrude(one: RecordedCall, address: str = STRANGER) -> None:
    """Send plain RTP of somebody else's to the port that hears everybody."""
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.bind((address, 0))
        for number in range(4):
            packet = header.build(8, 900 + number, 160, one.senders[0].ssrc, (7_000_000).to_bytes(4, "big") * 40)
            stranger.sendto(packet, ("127.0.0.1", one.pairs[0].port))


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("srtp", [True, False])
def test_packets_of_a_new_source_before_its_reoffer_are_kept(tmp_path: Path, srtp: bool, settled: bool) -> None:
    with moving(tmp_path, srtp) as one:
        if settled:
            settle(one)
        one.send(2)
        move(one)
        one.send(3)
        intrude(one)
        one.tick()
        one.send(3)
        intrude(one)
        one.change(*one.specs, sockets=True)
        one.send(3)
        intrude(one)
        one.tick()
        one.send(3)
        one.tick()
        assert connected(one.recorder.sockets[0].rtp)
        found = one.close()
        assert one.frames(found) == list(range(one.senders[0].sent))


@contextmanager
def on_trial(folder: Path) -> Iterator[RecordedCall]:
    """Have one stream that another port of the client's address was the first to speak in."""
    with recorded_call(folder, 1, srtp=False) as one:
        offered = one.senders[0].socket.getsockname()
        one.specs = (replace(one.specs[0], source=offered),)
        one.change(*one.specs, sockets=True)
        intrude(one, offered[0])
        one.tick()
        assert not connected(one.recorder.sockets[0].rtp)
        yield one


def test_the_offered_port_is_heard_though_another_spoke_first(tmp_path: Path) -> None:
    """As of an earlier call that nobody ended: its audio would be recorded to the end, and nothing of this call."""
    with on_trial(tmp_path) as one:
        offered = one.senders[0].socket.getsockname()
        one.send(5)
        one.tick()
        assert connected(one.recorder.sockets[0].rtp)
        intrude(one, offered[0])
        one.send(5)
        one.tick()
        assert one.pairs[0].peer == offered
        found = one.frames(one.close())
        assert [frame for frame in found if frame < one.senders[0].sent] == list(range(one.senders[0].sent))
        assert len(found) == one.senders[0].sent + 4


def test_the_offered_port_is_heard_despite_an_older_connection(tmp_path: Path) -> None:
    """It did so after ten seconds; the socket outlives it."""
    with on_trial(tmp_path) as one:
        lanes_before = one.recorder.sockets[0]
        assert connect(lanes_before.rtp, lanes_before.stream.latch.name)
        one.succeed(kept=True)
        assert not connected(one.recorder.sockets[0].rtp)
        one.send(5)
        one.tick()
        frames = one.frames(one.close())
        assert [each for each in frames if each < one.senders[0].sent] == list(range(one.senders[0].sent))


def test_main_learns_a_calls_provisional_source_at_its_end(tmp_path: Path) -> None:
    """Or the next call at that port would hear them too."""
    with on_trial(tmp_path) as one:
        one.close()
        assert one.pairs[0].peer not in (None, one.senders[0].socket.getsockname())


@pytest.mark.parametrize("reconnected", [False, True], ids=["", "main died having connected the socket again"])
@pytest.mark.parametrize("srtp", [True, False])
def test_a_source_that_moved_while_its_worker_died_is_heard(tmp_path: Path, srtp: bool, reconnected: bool) -> None:
    with moving(tmp_path, srtp) as one:
        settle(one)
        one.send(2)
        before = one.recorder.sockets[0].stream.latch.name
        move(one)
        if reconnected:
            assert connect(one.pairs[0].rtp.fileno(), before)
        else:
            one.send(3)
        one.succeed(kept=True)
        for _ in range(4):
            one.send(3)
            if not reconnected:
                intrude(one)
            one.tick()
        assert connected(one.recorder.sockets[0].rtp)
        assert one.frames(one.close()) == list(range(one.senders[0].sent))


def test_a_source_that_moved_is_not_left_to_a_successor(tmp_path: Path) -> None:
    """Neither at the next packet nor before it."""
    with moving(tmp_path, srtp=False) as one:
        settle(one)
        one.send(2)
        move(one)
        one.succeed(kept=True)
        slot = newest_slot(one.spool_fd, one.key)
        left = ReceivedStream(one.specs[0], Pauses(), 1)
        assert slot is not None
        checkpoint.restore(slot.state, slot.moving, {0: left})
        assert (left.latched, left.reception.packets) == (None, one.figures()["packets"])


def test_a_stream_without_sockets_is_not_missed(tmp_path: Path) -> None:
    """It was taken out before the worker died."""
    with recorded_call(tmp_path, streams=1) as one:
        at = time.time_ns()
        one.recorder.add_streams([replace(one.specs[0], stream=5)], {}, at)
        one.recorder.close(one.region, at + 9_000_000_000)
        assert one.reasons(5) == []


def test_the_descriptors_of_streams_that_go_on_are_given_back(tmp_path: Path) -> None:
    with recorded_call(tmp_path) as one:
        one.send(5)
        one.tick()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            one.recorder.change(one.region, one.specs, one.descriptors(), [], time.time_ns())
        assert len(os.listdir("/proc/self/fd")) <= before
