"""What a worker reports fits into messages, and is believed, however many streams, gaps and sources a call has."""

import socket
from pathlib import Path
from typing import Any

import pytest

from media.rtp.sequence import Source
from media.spec import StreamSpec
from media.stream.gaps import MAX_GAPS, Reason
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.reception import MAX_SOURCES
from recorder.workers.messages import Ask, Beat, Close, Figures, Final, Stats
from recorder.workers.process import STATS
from recorder.workers.worker_handle import Process
from sip.sdp.plan import Policy
from tests.in_process.in_process_worker import in_process_worker

STREAMS = Policy().max_lines
NOW = 1_700_000_000_000_000_000
MOST = (1 << 63) - 1


def full(number: int, codec: str) -> ReceivedStream:
    """Give a stream of which everything is as long as it gets."""
    track = ReceivedStream(StreamSpec(number, payloads=((96, codec, 8000),)), Pauses(()), 1)
    for each in range(MAX_GAPS):
        at = NOW + each * 1_000_000_000
        track.gaps.add(at, at + 20_000_000, Reason.DECRYPT if each % 2 else Reason.LOSS, 1, each, each)
    track.reception.payload_type = 96
    heard = track.reception
    heard.packets = heard.rejected = heard.foreign = heard.duplicates = heard.late = heard.size = MOST
    track.reception.first_arrival = track.reception.last_arrival = NOW
    track.reception.sources = tuple(Source((1 << 32) - 1 - each, MOST) for each in range(MAX_SOURCES))
    return track


def reported(folder: Path, monkeypatch: pytest.MonkeyPatch, tracks: list[ReceivedStream], *commands: Any) -> list[Any]:
    """Return what a worker answers to some commands about the call "id", which has these streams."""
    with in_process_worker(folder, monkeypatch, tracks) as worker:
        worker.on_step = lambda _: worker.main.close() if worker.now >= 110 else None
        worker.add("id")
        worker.say(*commands)
        heard = worker.run(tick=5.0)
    return [event for event in heard if isinstance(event, Figures | Final)]


@pytest.mark.parametrize("codec", ["PCMA", "x" * 9_000, "\xff" * 9_000], ids=["short", "long", "of broken bytes"])
def test_final_figures_of_a_call_with_many_gaps_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    heard = reported(
        tmp_path, monkeypatch, [full(number, codec) for number in range(STREAMS)], Ask("id", 7), Close("id", 0)
    )
    assert [type(event) for event in heard] == [Figures, Final]
    for event in heard:
        assert sorted(event.streams) == list(range(STREAMS))
        for figure in event.streams.values():
            assert (figure["packets"], figure["gap_ms"]) == (MOST, 20 * MAX_GAPS)
            assert len(figure["sources"]) == MAX_SOURCES
            gaps = figure["gaps"]
            assert (gaps[0][0], gaps[-1][1]) == (NOW, NOW + (MAX_GAPS - 1) * 1_000_000_000 + 20_000_000)
            assert len(gaps) >= 8 and gaps == tuple(sorted(gaps))


def test_every_gap_of_a_usual_call_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (final,) = reported(tmp_path, monkeypatch, [full(number, "PCMA") for number in range(8)], Close("id", 0))
    assert {len(figure["gaps"]) for figure in final.figures} == {MAX_GAPS}


def test_counters_of_many_large_calls_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [f"{number:036}" for number in range(50)]
    with in_process_worker(tmp_path, monkeypatch, [full(number, "PCMA") for number in range(STREAMS)]) as worker:
        worker.on_step = lambda _: worker.main.close() if worker.now > 100 + 2 * STATS else None
        worker.add(*calls)
        heard = worker.run(tick=1.0)
    told = [(call, len(counts)) for event in heard if isinstance(event, Stats) for call, counts in event.calls.items()]
    assert set(told) == {(call, STREAMS) for call in calls}
    assert sum(isinstance(event, Beat) for event in heard) >= STATS


def test_a_worker_whose_streams_all_get_foreign_packets_is_kept(tmp_path: Path) -> None:
    """Once a second it says so of each stream, and a call may have as many as an offer."""
    process = Process(0, 1, socket.socket(), tmp_path, 0.0, 0.0)
    calls = [f"{number}" for number in range(100)]
    process.calls.update(calls)
    with process.control:
        assert all(process.may_say(len(calls) * STREAMS + 1, float(second)) for second in range(3_600))
