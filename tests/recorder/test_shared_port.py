"""RTCP on the port of RTP (RFC 5761) over real sockets: kept as what the source says, also by a successor."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from media.records import record_format
from media.srtp.srtcp import Srtcp
from tests.in_process.recorded_call import RecordedCall, recorded_call
from tests.in_process.worker_call import SUITE


def report(one: RecordedCall, number: int) -> None:
    """Have the source of the one stream report on itself, to where its packets go."""
    spec, sender = one.specs[0], one.senders[0]
    packet = struct.pack("!BBHIQIII", 0x80, 200, 6, sender.ssrc, number << 32, 160, sender.sent, 160 * sender.sent)
    one.send_again([Srtcp(SUITE, spec.key, number).protect(packet) if spec.key else packet])


def settled(one: RecordedCall) -> None:
    """Let the kernel vouch for the source: from then on nobody asks it for the sender."""
    one.specs = tuple(replace(spec, rtcp_mux=True) for spec in one.specs)
    for _ in range(3):
        one.send(2)
        one.tick()
    assert one.recorder.lanes[0].track.latch.pure


def reports_of(found: list[record_format.Record]) -> list[int]:
    return [record.packet[11] for record in found if isinstance(record, record_format.Rtcp)]


@pytest.mark.parametrize("srtp", [True, False])
def test_a_report_of_a_connected_source_is_kept(tmp_path: Path, srtp: bool) -> None:
    with recorded_call(tmp_path, 1, srtp) as one:
        settled(one)
        for number in (1, 2):
            one.send(10)
            report(one, number)
            one.send(10)
            one.tick()
        found, (figures,) = one.close(), one.recorder.figures()
        assert reports_of(found) == [1, 2]
        assert one.frames(found) == list(range(46))
        assert (figures["foreign"], figures["rejected"], figures["lost"]) == (0, 0, 0)


@pytest.mark.parametrize("srtp", [True, False])
def test_a_successor_repeats_a_batch_with_a_report(tmp_path: Path, srtp: bool) -> None:
    with recorded_call(tmp_path, 1, srtp) as one:
        settled(one)
        one.send(10)
        report(one, 1)
        one.send(10)
        one.region.begin(one.recorder.id.encode(), one.recorder.generation + 1, [0], [False])
        assert one.region.receive(0, one.recorder.lanes[0].rtp) == 21  # killed before it was committed
        one.succeed(kept=True)
        one.send(5)
        found, (figures,) = one.close(), one.recorder.figures()
        assert reports_of(found) == [1]
        assert one.frames(found) == list(range(31))
        assert (figures["foreign"], figures["rejected"], list(figures["gaps"])) == (0, 0, [])
