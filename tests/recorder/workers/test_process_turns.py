"""What a worker does when: whose turn it is, when it listens, when it beats."""

import time
from itertools import pairwise
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest

from recorder.workers import codec, messages
from recorder.workers.priority import PAUSE, SHARE, SPELL, HandshakePriority
from recorder.workers.process import BEAT, STALE
from recorder.workers.rcvbuf_overflow import HOT, Overflow
from tests.in_process.worker_call import CALL, alone


def test_after_a_crash_the_longest_waiting_calls_come_first(tmp_path: Path) -> None:
    class Call:
        paused, trouble = False, 0

        def __init__(self, number: int) -> None:
            self.id, self.heard = str(number), number

        def drain(self, *_: object) -> None:
            drained.append(self.heard)

    drained: list[int] = []
    with alone(tmp_path) as (worker, _):
        worker._recorders = {str(n): Call(n) for n in (3, 0, 2, 1)}  # type: ignore[misc]  # all that a round needs of a tape
        worker._adopted = True
        worker._work()
        worker._work()
    assert drained == [0, 1, 2, 3, 3, 0, 2, 1]


def test_a_starved_worker_reads_commands_before_draining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets under a new key, or of a pause, may have come meanwhile, and the word of it before them."""
    clock = [100.0]

    class Call:
        paused = trouble = 0

        def __init__(self, number: int) -> None:
            self.id = str(number)

        def drain(self, *_: object) -> None:
            done.append(self.id)
            clock[0] += STALE / 4 if self.id != "1" else 3.0  # stopped while at the second

    def take(_: object) -> bool:
        done.append("listened")
        return True

    done: list[str] = []
    with alone(tmp_path) as (worker, _):
        worker._recorders = {str(n): Call(n) for n in range(4)}  # type: ignore[misc]  # all that a round needs of a tape
        monkeypatch.setattr(worker, "_take", take)
        monkeypatch.setattr(worker, "_chores", lambda: None)
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        worker._looked = clock[0]
        worker._work()
        monkeypatch.undo()
    assert done == ["0", "1", "listened", "2", "3"]


def test_a_round_longer_than_a_beat_is_busy_in_every_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a worker that cannot keep up would look idle every other second, and never be spared."""
    clock = [100.0]

    class Call:
        paused = trouble = 0
        lanes: dict[int, object] = {}

        def __init__(self, number: int) -> None:
            self.id = str(number)

        def drain(self, *_: object) -> None:
            clock[0] += 0.05

    with alone(tmp_path) as (worker, _):
        worker._recorders = {str(n): Call(n) for n in range(100)}  # type: ignore[misc]  # all that a round needs of a tape
        told: list[object] = []
        monkeypatch.setattr(worker, "_tell", told.append)
        monkeypatch.setattr(worker, "_report", lambda: None)
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        worker._next_beat = worker._since = clock[0]
        worker._next_beat += 1.0
        worker._work()
        monkeypatch.undo()
    assert [event.busy for event in told if isinstance(event, messages.Beat)] == [1.0] * 4


def test_a_worker_beats_while_reading_many_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of a dead one takes a starved machine half a second to adopt, and hundreds may come in a row."""
    clock = [100.0]
    order: list[object] = []

    def take(message: messages.Pause, _: object) -> None:
        order.append(message.at)
        clock[0] += 0.5

    with alone(tmp_path) as (worker, main):
        worker._handlers[messages.Pause] = take
        worker._recorders = {CALL: SimpleNamespace(id=CALL, lanes={})}  # type: ignore[dict-item]  # nothing else is asked
        for number in range(6):
            main.send(codec.encode(messages.Pause(CALL, number)))
        monkeypatch.setattr(worker, "_tell", order.append)
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        worker._since, worker._next_beat = 100.0, 101.0
        assert worker._listen()
        monkeypatch.undo()
    assert order == [0, 1, messages.Beat(1.0), 2, 3, messages.Beat(1.0), 4, 5, messages.Beat(1.0)]


def test_an_overloaded_worker_beats_and_drains_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its calls are flooded then, and to empty them all at once takes longer than a hang."""
    clock = [100.0]
    order: list[str] = []

    class Call:
        paused = trouble = 0
        shaking = False
        lanes: dict[int, object] = {}

        def __init__(self, number: int) -> None:
            self.id = str(number)

        def drain(self, *_: object) -> None:
            clock[0] += 0.01
            order.append(self.id)

        shake = drain

    with alone(tmp_path) as (worker, _):
        worker._recorders = {str(n): Call(n) for n in range(1_000)}  # type: ignore[misc]  # all that a round needs of a tape
        worker._overflow._hot = dict.fromkeys(worker._recorders, clock[0] + HOT)
        told: list[float] = []
        monkeypatch.setattr(worker, "_tell", lambda event: told.append(clock[0]))
        monkeypatch.setattr(worker, "_report", lambda: None)
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        worker._next_beat = worker._since = clock[0]
        worker._work()
        monkeypatch.undo()
    assert max(later - earlier for earlier, later in pairwise([100.0, *told])) < BEAT + 0.2
    assert set(order) == set(worker._recorders)
    assert len(order) < 1.5 * len(worker._recorders)


@pytest.mark.parametrize(("since", "busy"), [(None, 0.5), (1.0, 0.0)])
def test_a_spell_is_counted_once_also_amid_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: float | None, busy: float
) -> None:
    """A round is counted as a whole, when it ends or when there is a beat in it."""
    with alone(tmp_path) as (worker, _):
        worker._urgent.shaking.add("a")
        monkeypatch.setattr(worker._urgent, "spell", lambda look, clock: 0.5)
        worker._next_beat = worker._next_stats = inf
        worker._since = since
        worker._chores()
        assert worker._busy == busy


def test_a_worker_without_calls_rests_after_a_flood(tmp_path: Path) -> None:
    with alone(tmp_path) as (worker, _):
        worker._overflow._hot = {"over": time.monotonic() - 1}
        worker._chores()
        assert worker._urgent.due == inf


def test_flooded_and_handshaking_calls_take_turns() -> None:
    clock, order = [100.0], []

    def look(call: str) -> bool:
        clock[0] += SPELL / 2
        order.append(call)
        return call != "over"

    overflow = Overflow(lambda _: 0, lambda _: None)
    urgent = HandshakePriority(overflow)

    def now() -> float:
        return clock[0]

    assert urgent.due == inf
    urgent.shaking.update(("over", "a", "b"))
    overflow._hot = {"flooded": clock[0] + HOT}
    for _ in range(2):
        assert urgent.due <= clock[0]
        assert urgent.spell(look, now) == pytest.approx(SPELL)
        assert urgent.due == pytest.approx(clock[0] + PAUSE)
        clock[0] = urgent.due
    assert sorted(order) == ["a", "b", "flooded", "over"]
    assert urgent.shaking == {"a", "b"}
    overflow._hot = {}
    urgent.spell(look, now)
    assert sorted(order[4:]) == ["a", "b"]
    assert urgent.due == pytest.approx(clock[0] + SHARE * SPELL)
