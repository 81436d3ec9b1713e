"""A media worker that is broken into can write to the whole file of each of its calls, not only to the spool in it.

What main keeps there must therefore not be believed by a successor, unless it is sealed under the recording's leaf.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from recorder.calls.repair_queue import Left, RepairQueue
from recorder.persist.checkpoint import Checkpoints
from recorder.persist.checkpoint_file import Slot
from recorder.persist.repair import left_behind
from recorder.service.port_rebind import bind_again
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import Stage
from tests.recorder.calls.restart import forget_dialogs

HUGE = 10**400


def forge(one: Any, call: Any, outer: dict[str, Any], sealed: bytes = b"") -> None:
    """Write a state through the descriptor that the worker of a call has."""
    forged = Slot("", 0, call.files.spool_fd, generation=1 << 62)
    said = {"v": 2, "call": call.id, "customer": "acme", "leaf": call.leaf, "ports": []} | outer
    forged.write(json.dumps(said).encode(), sealed)


@contextmanager
def started(one: Stage) -> Iterator[tuple[Checkpoints, RepairQueue]]:
    """Start anew with what is in the runtime directory."""
    with closing(Checkpoints(one.node.settings.node.runtime_dir / "live")) as checkpoints:
        repairs = RepairQueue(one.node, one.resources.syncer, checkpoints.remove)
        one.resuming(checkpoints, repairs).run({}, {})
        yield checkpoints, repairs


async def hung_up(one: Stage, call: Any) -> set[str]:
    """End a call and wait until it is indexed; gives the names of its parts."""
    one.bye(call.recording.call_id)
    await one.until(lambda: call.id not in {outer.call for outer in one.checkpoints.left()})
    return parts_of(one, call)


def parts_of(one: Stage, call: Any) -> set[str]:
    return {ref.part for ref in one.customers["acme"].vault.walk() if ref.call == call.id}


@pytest.mark.parametrize("over", [False, True])
async def test_a_worker_cannot_have_a_recording_removed(one: Stage, over: bool) -> None:
    acme = one.customers["acme"]
    victim = one.invite("c1")
    assert (kept := await hung_up(one, victim))
    broken = one.invite("c2")
    forge(one, broken, {"call": victim.id, "leaf": victim.leaf, "refused": True})
    if over:
        Slot("", 0, broken.files.spool_fd, generation=(1 << 62) + 1).end()
    one.forget(broken)
    with started(one) as (_, repairs):
        for each in left_behind(acme, ()):
            repairs.put(Left(acme, *each))
        assert await repairs.round()
    assert parts_of(one, victim) == kept
    row = await acme.calls.get(broken.id)
    assert row and row.state.value == "interrupted"


FORGED: list[dict[str, Any]] = [
    {"leaf": float("inf")},
    {"leaf": float("nan")},
    {"leaf": -1},
    {"leaf": HUGE},
    {"leaf": 1 << 80},
    {"call": "../../x"},
    {"customer": "../x"},
    {"customer": ["acme"]},
    {"ports": [[70_000, True]]},
    {"ports": [[-2, True]]},
    {"ports": [[HUGE, True]]},
    {"ports": [[float("inf"), True]]},
    {"ports": 5},
    {"ports": [[[], True]]},
]


async def test_a_start_succeeds_whatever_state_a_worker_forged(one: Stage) -> None:
    for number, outer in enumerate(FORGED):
        call = one.invite(f"c{number}", sdp("sendonly"))
        forge(one, call, outer, b"x" * 60)
        one.forget(call)
        for pair in bind_again(one.node.settings.node.runtime_dir, "127.0.0.1", ()).values():
            pair.close()
        with started(one) as (checkpoints, _):
            assert not list(checkpoints.left()), str(outer)[:40]
        assert not list(one.live), str(outer)[:40]


@pytest.mark.parametrize("first", [True, False])
async def test_a_worker_that_names_another_call_takes_nothing_from_it(one: Stage, first: bool) -> None:
    victim, broken = (one.invite("c1"), one.invite("c2"))[:: -1 if first else 1]
    for call in (victim, broken):
        one.executor.checkpoint(call)
    forge(one, broken, {"call": victim.id, "leaf": victim.leaf})
    with closing(Checkpoints(one.node.settings.node.runtime_dir / "live")) as checkpoints:
        for outer in checkpoints.left():
            if checkpoints.unseal(outer, victim.customer.keys) is None:
                checkpoints.remove(outer.call)
        assert [outer.call for outer in checkpoints.left()] == [victim.id]


async def test_a_replayed_state_of_an_ended_call_does_not_revive_it(one: Stage) -> None:
    """Sealed and genuine, and kept from when the call lived: the worker had the descriptor of its file, too."""
    acme = one.customers["acme"]
    victim = one.invite("c1")
    one.executor.checkpoint(victim)
    (kept,) = [outer for outer in one.checkpoints.left() if outer.call == victim.id]
    parts = await hung_up(one, victim)
    broken = one.invite("c2")
    forge(one, broken, {"call": victim.id, "leaf": victim.leaf}, kept.sealed)
    one.forget(broken)
    forget_dialogs(one)  # as a new process has none
    with started(one) as (_, repairs):
        assert [call.id for call in one.live] == []
        assert await repairs.round()
    assert parts_of(one, victim) == parts
    row = await acme.calls.get(victim.id)
    assert row and row.state.value == "complete"
