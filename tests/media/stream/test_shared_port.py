"""RTCP on the port of RTP (RFC 5761): a report lies among packets in unbroken order and does not break it."""

import struct
from itertools import pairwise

import pytest

from media.records import record_format
from media.srtp.srtcp import Srtcp
from media.stream import checkpoint
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from tests.media.stream.lanes import KEY, SUITE, receive, stored, stream_of
from tests.media.stream.test_fast_path import GCM, opus, protected, track_of

COUNT = 40
SOURCE = struct.pack("=H", 2) + (4000).to_bytes(2, "big") + bytes((192, 0, 2, 1)) + bytes(8)


def report(number: int = 1) -> bytes:
    return struct.pack("!BBHIQIII", 0x80, 200, 6, 7, number << 32, 160, 10 * number, 1600 * number)


def sealed(reports: list[bytes], suite: str | None) -> list[bytes]:
    if suite is None:
        return reports
    sender = Srtcp(suite, KEY[: 28 if suite == GCM else 30])
    return [sender.protect(each) for each in reports]


def settled(suite: str | None, first: bytes, pure: bool = True) -> ReceivedStream:
    """Give a track that has heard its first packet."""
    track = track_of(suite, pure)
    track.latch.name = SOURCE
    receive(track, [first])
    return track


def received(track: ReceivedStream, wire: list[bytes]) -> list[bytes]:
    return receive(track, wire, 1, cuts=len(wire))


def with_reports(packets: list[bytes], reports: list[bytes], places: list[int]) -> list[bytes]:
    """Put the reports in front of the packets of these numbers."""
    bounds = pairwise([0, *places, len(packets)])
    runs = [packets[begin:end] for begin, end in bounds]
    return [each for run, said in zip(runs, [*([r] for r in reports), []], strict=True) for each in (*run, *said)]


@pytest.mark.parametrize("places", [[0], [0, COUNT], [2, 10, 10, 30, 38]], ids=str)
@pytest.mark.parametrize("suite", [None, SUITE, GCM])
def test_packets_around_reports_take_the_fast_path(suite: str | None, places: list[int]) -> None:
    packets, reports = stream_of(1 + COUNT, 100), [report(n) for n in range(len(places))]
    wire, said = protected(packets, suite), sealed(reports, suite)
    track = settled(suite, wire[0])
    steady = checkpoint.steady([track])
    out = received(track, with_reports(wire[1:], said, places))
    assert stored(out) == [(101 + n, packet) for n, packet in enumerate(packets[1:])]
    found = list(record_format.read([b"".join(out)]))
    runs = [record for record in found if isinstance(record, record_format.Run)]
    assert len(runs) == sum(end > begin for begin, end in pairwise([0, *places, COUNT]))
    assert [record.packet for record in found if isinstance(record, record_format.Rtcp)] == reports
    assert [at_of(record) for record in found] == sorted(at_of(record) for record in found)
    assert checkpoint.steady([track]) == steady  # nothing changed that a base has to say


def at_of(record: record_format.Record) -> int:
    """Give when what a record holds began to come."""
    assert isinstance(record, record_format.Run | record_format.Rtcp)
    return record.arrivals[0] if isinstance(record, record_format.Run) else record.arrival


@pytest.mark.parametrize("suite", [None, SUITE, GCM])
def test_both_paths_find_the_same_around_reports(suite: str | None) -> None:
    packets = opus(1 + COUNT)
    wire = protected(packets, suite)
    (said,) = sealed([report()], suite)
    for batch in ([*wire[1:20], said, *wire[20:]], [*wire[1:20], said, *wire[21:]], [wire[1], said, wire[2]]):
        swift, slow = settled(suite, wire[0]), settled(suite, wire[0], pure=False)
        out, other = received(swift, batch), received(slow, batch)
        assert stored(out) == stored(other)
        assert figures(swift) == figures(slow)
        assert swift.rtcp.sender_report == slow.rtcp.sender_report is not None


@pytest.mark.parametrize("suite", [SUITE, GCM])
def test_a_forged_report_on_a_shared_port_is_only_counted(suite: str) -> None:
    packets = stream_of(1 + COUNT, 100)
    wire = protected(packets, suite)
    track = settled(suite, wire[0])
    steady = checkpoint.steady([track])
    out = received(track, [*wire[1:20], report(), *wire[20:]])
    assert [packet for _, packet in stored(out)] == packets[1:]
    assert (track.reception.rejected, track.rtcp.sender_report) == (1, None)
    assert checkpoint.steady([track]) != steady


def test_a_report_on_a_connected_socket_is_the_sources_own() -> None:
    """Nobody asks the kernel who sent what came to a connected socket, and what stands there is old."""
    packets = stream_of(1 + COUNT, 100)
    track = settled(None, packets[0])
    receive(track, [*packets[1:20], report(), *packets[20:]], 1, address=(198, 51, 100, 9))
    assert (track.reception.packets, track.reception.foreign) == (1 + COUNT, 0)
    assert track.rtcp.sender_report is not None
