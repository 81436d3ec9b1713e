"""What a worker does when: whose turn it is, when it reads messages, when it sends heartbeats."""

from itertools import count, pairwise
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from media.spec import StreamSpec
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from recorder.workers import process
from recorder.workers.messages import Beat, Drop, Pause
from recorder.workers.priority import PAUSE, SHARE, SPELL, HandshakePriority
from recorder.workers.process import BEAT, STALE
from tests.in_process.in_process_worker import InProcessWorker, in_process_worker


def steps(order: list[Any]) -> list[str]:
    return [each for each in order if isinstance(each, str)]


def end_after(worker: InProcessWorker, count: int) -> None:
    """Let main be gone after so many steps."""
    if len(steps(worker.order)) >= count:
        worker.main.close()


def test_after_a_crash_the_longest_waiting_calls_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_process_worker(tmp_path, monkeypatch) as worker:
        worker.heard = {str(number): number for number in range(4)}
        worker.on_step = lambda _: end_after(worker, 8)
        worker.add("3", "0", "2", "1", adopt=True)
        order = steps(worker.run())
    assert order == [f"drain {call}" for call in (0, 1, 2, 3, 3, 0, 2, 1)]


def test_a_starved_worker_reads_commands_before_draining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets under a new key, or of a pause, may have come meanwhile, and the message about it before them."""
    with in_process_worker(tmp_path, monkeypatch) as worker:

        def step(name: str) -> None:
            worker.now += STALE / 4
            if name == "drain 1":  # it is not scheduled for a while
                worker.now += 3.0
                worker.say(Pause("2", 0))
            end_after(worker, 5)

        worker.on_step = step
        worker.add("0", "1", "2", "3")
        assert steps(worker.run()) == ["drain 0", "drain 1", "pause 2", "drain 2", "drain 3"]


def test_a_worker_beats_while_reading_many_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A starved machine takes half a second to adopt a dead worker's call, and hundreds may come in a row."""
    with in_process_worker(tmp_path, monkeypatch) as worker:

        def step(name: str) -> None:
            worker.now += 0.5 if name == "pause a" else 0.0
            end_after(worker, 6)

        worker.on_step = step
        worker.add("a")
        worker.say(*[Pause("a", number) for number in range(6)])
        pair = ["pause a", "pause a"]
        assert worker.run()[:8] == [*pair, Beat(1.0), *pair, Beat(1.0), *pair]


def test_an_overloaded_worker_beats_and_drains_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its calls are flooded then, and to empty them all at once takes longer than a hang."""
    calls = [f"{number:036}" for number in range(400)]
    flooded = SimpleNamespace(hot=tuple(calls), look=lambda *_: None)
    monkeypatch.setattr(process, "Overflow", lambda *_: flooded)
    beats = [100.0]
    with in_process_worker(tmp_path, monkeypatch) as worker:

        def step(name: str) -> None:
            if len(worker.calls) < len(calls):
                worker.add(*calls[len(worker.calls) :][:50])
            worker.now += 0.0 if name == "poll" else 0.02
            beats.extend([worker.now] * (len(worker.order) > 1 and isinstance(worker.order[-2], Beat)))
            if len({each for each in steps(worker.order) if each.startswith("drain")}) == len(calls):
                worker.main.close()

        worker.on_step = step
        order = worker.run()
    assert len(beats) > 5 and max(later - earlier for earlier, later in pairwise(beats)) < BEAT + 0.3
    assert {each.busy for each in order if isinstance(each, Beat)} == {1.0}
    assert len(steps(order)) < 4 * len(calls)


@pytest.mark.parametrize(
    ("drain", "handshake", "tick"),
    [(0.006, 0.0, 1.0), (0.0, 0.01, 5.0), (0.006, 0.01, 1.0), (0.06, 0.0, 0.0)],
    ids=["rounds", "handshakes", "handshakes amid rounds", "rounds longer than a beat"],
)
def test_heartbeats_tell_the_share_of_time_that_was_worked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drain: float, handshake: float, tick: float
) -> None:
    worked = [0.0]
    with in_process_worker(tmp_path, monkeypatch) as worker:

        def step(name: str) -> None:
            took = {"drain": drain, "handshake": handshake}.get(name.split()[0], 0.0)
            worker.now += took
            worked[0] += took
            if worker.now > 120.0:
                worker.main.close()

        worker.on_step, worker.handshaking = step, handshake > 0
        worker.add(*map(str, range(60)))
        beats = [each.busy for each in worker.run(tick) if isinstance(each, Beat)]
    assert len(beats) >= 5
    assert sum(beats) / len(beats) == pytest.approx(min(1.0, worked[0] / (worker.now - 100.0)), abs=0.06)


def test_a_call_whose_packets_the_kernel_drops_gets_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the rounds of all calls."""
    lost, snmp = count(1), tmp_path / "snmp"
    snmp.write_text("Udp: RcvbufErrors\nUdp: 0\n")
    monkeypatch.setattr(process, "dropped", lambda _: next(lost))
    monkeypatch.setattr("recorder.workers.rcvbuf_overflow.PLACES", [str(snmp)])
    with in_process_worker(tmp_path, monkeypatch) as worker:

        def step(name: str) -> None:
            for call in worker.calls.values():
                call.sockets = {0: SimpleNamespace(rtp=7, stream=ReceivedStream(StreamSpec(0), Pauses(()), 1))}
            snmp.write_text(f"Udp: RcvbufErrors\nUdp: {next(lost)}\n")
            if name == "handshake a":
                worker.say(Drop("a"))  # it stays among those that have their turns for a while
            if worker.now > 110:
                worker.main.close()

        worker.on_step = step
        worker.add("a")
        assert "handshake a" in steps(worker.run(tick=1.0))


def test_flooded_and_handshaking_calls_take_turns() -> None:
    clock, order = [100.0], []
    overflow = SimpleNamespace(hot=())
    urgent = HandshakePriority(overflow)  # type: ignore[arg-type]  # all that is asked of it

    def look(call: str) -> bool:
        clock[0] += SPELL / 2
        order.append(call)
        return call != "over"

    def now() -> float:
        return clock[0]

    assert urgent.due == inf
    urgent.handshaking.update(("over", "a", "b"))
    overflow.hot = ("flooded",)
    for _ in range(2):
        assert urgent.due <= clock[0]
        assert urgent.spell(look, now) == pytest.approx(SPELL)
        assert urgent.due == pytest.approx(clock[0] + PAUSE)
        clock[0] = urgent.due
    assert sorted(order) == ["a", "b", "flooded", "over"]
    assert urgent.handshaking == {"a", "b"}
    overflow.hot = ()
    urgent.spell(look, now)
    assert sorted(order[4:]) == ["a", "b"]
    assert urgent.due == pytest.approx(clock[0] + SHARE * SPELL)
    urgent.handshaking.clear()
    overflow.hot = ("flooded",)
    assert urgent.spell(look, now) == pytest.approx(SPELL / 2)
