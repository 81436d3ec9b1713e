"""What a worker says fits into a message, and is believed, however many streams, holes and speakers a call has."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from media.rtp.sequence import Source
from media.spec import StreamSpec
from media.stream.gaps import MAX_GAPS, Reason
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.reception import MAX_SOURCES
from recorder.workers import codec, messages
from recorder.workers.call_recorder import CallRecorder
from recorder.workers.process import Worker
from recorder.workers.worker_handle import Process
from sip.sdp.plan import Policy
from tests.in_process.worker_call import alone

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


class Call(CallRecorder):
    """A call of which nothing is written."""

    def __init__(self, call: str, tracks: list[ReceivedStream]) -> None:
        self.id = call
        self.lanes = {track.spec.stream: SimpleNamespace(track=track, rtp=-1) for track in tracks}  # type: ignore[misc]  # no sockets
        self.clean, self._parts = True, ()
        self._writer = SimpleNamespace(name="m1")  # type: ignore[assignment]  # no files

    def drain(self, *_: Any, **__: Any) -> None: ...
    def close(self, *_: Any) -> int:
        return 5

    def release(self) -> None: ...


def said(worker: Worker, main: socket.socket) -> list[Any]:
    """Give what main hears, as it hears it."""
    out: list[Any] = []
    main.setblocking(False)
    while True:
        worker._flush()
        try:
            out.append(codec.decode_report(main.recv(2 * codec.MAX_MESSAGE)))
        except codec.WireError:
            assert out == [], "only the greeting is no message"
        except BlockingIOError:
            return out


@pytest.mark.parametrize("codec", ["PCMA", "x" * 9_000, "\xff" * 9_000], ids=["short", "long", "of broken bytes"])
def test_final_figures_of_a_call_with_many_gaps_fit(tmp_path: Path, codec: str) -> None:
    with alone(tmp_path) as (worker, main):
        worker._recorders["id"] = Call("id", [full(number, codec) for number in range(STREAMS)])
        worker._handle(messages.Ask("id", 7), [])
        worker._handle(messages.Close("id", 0), [])
        heard = said(worker, main)
    assert [type(event) for event in heard] == [messages.Figures, messages.Final]
    for event in heard:
        assert sorted(event.streams) == list(range(STREAMS))
        for figure in event.streams.values():
            assert (figure["packets"], figure["gap_ms"]) == (MOST, 20 * MAX_GAPS)
            assert len(figure["sources"]) == MAX_SOURCES
            gaps = figure["gaps"]
            assert (gaps[0][0], gaps[-1][1]) == (NOW, NOW + (MAX_GAPS - 1) * 1_000_000_000 + 20_000_000)
            assert len(gaps) >= 8 and gaps == tuple(sorted(gaps))


def test_every_gap_of_a_usual_call_is_reported(tmp_path: Path) -> None:
    with alone(tmp_path) as (worker, main):
        worker._recorders["id"] = Call("id", [full(number, "PCMA") for number in range(8)])
        worker._handle(messages.Close("id", 0), [])
        (final,) = said(worker, main)
    assert {len(figure["gaps"]) for figure in final.figures} == {MAX_GAPS}


def test_counters_of_many_large_calls_are_reported(tmp_path: Path) -> None:
    tracks = [full(number, "PCMA") for number in range(STREAMS)]
    calls = {f"{number:036}": Call(f"{number:036}", tracks) for number in range(100)}
    with alone(tmp_path) as (worker, main):
        worker._flush()  # the greeting: as long as main is behind, no counters are told
        worker._recorders.update(calls)
        worker._report()
        heard = said(worker, main)
    assert {call: len(counts) for event in heard for call, counts in event.calls.items()} == dict.fromkeys(
        calls, STREAMS
    )


def test_a_worker_whose_streams_all_get_foreign_packets_is_kept(tmp_path: Path) -> None:
    """Once a second it says so of each stream, and a call may have as many as an offer."""
    process = Process(0, 1, socket.socket(), tmp_path, 0.0, 0.0)
    calls = [f"{number}" for number in range(100)]
    process.calls.update(calls)
    with process.control:
        assert all(process.may_say(len(calls) * STREAMS + 1, float(second)) for second in range(3_600))
