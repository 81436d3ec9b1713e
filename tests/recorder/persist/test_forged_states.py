"""A media worker that is broken into can write to the whole file of each of its calls, not only to the spool in it.

What main keeps there must therefore not be believed by a successor, unless it is sealed under the recording's leaf.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from recorder.calls.repair_queue import Left, RepairQueue
from recorder.calls.resume import Resume
from recorder.persist.checkpoint import Checkpoints
from recorder.persist.checkpoint_file import Slot
from recorder.persist.repair import left_behind
from recorder.service.port_rebind import bind_again
from tests.in_process.recorder_node import Stage, sip_request

HUGE = 10**400


def forge(one: Any, call: Any, outer: dict[str, Any], sealed: bytes = b"") -> None:
    """Write a state through the descriptor that the worker of a call has."""
    forged = Slot("", 0, call.files.spool_fd, generation=1 << 62)
    said = {"v": 2, "call": call.id, "customer": "acme", "leaf": call.leaf, "ports": []} | outer
    forged.write(json.dumps(said).encode(), sealed)


@pytest.mark.parametrize("over", [False, True])
async def test_a_worker_cannot_have_a_recording_removed(one: Stage, over: bool) -> None:
    acme = one.node.customers["acme"]
    victim = one.invite("c1")
    tag = one.tag()
    one.hear(sip_request("BYE", "c1", 9, to=tag))
    await one.until(lambda: one.statuses("BYE"))
    await one.until(lambda: not acme.vault.left_open())
    kept = {ref.part for ref in acme.vault.walk() if ref.call == victim.id}
    assert kept
    broken = one.invite("c2")
    forge(one, broken, {"call": victim.id, "leaf": victim.leaf, "refused": True})
    if over:
        forged = Slot("", 0, broken.files.spool_fd, generation=(1 << 62) + 1)
        forged.end()
    one.forget(broken)
    with closing(Checkpoints(one.node.runtime_dir / "live")) as checkpoints:
        here = RepairQueue(one.node, checkpoints.remove)
        Resume(one.node, one.recordings, one.live, one.executor, checkpoints, one.workers, here).run({}, {})
        for each in left_behind(acme, ()):
            here.put(Left(acme, *each))
        assert await here.round()
    assert {ref.part for ref in acme.vault.walk() if ref.call == victim.id} == kept
    row = await acme.calls.get(broken.id)
    assert row and row.state.value == "interrupted"


@pytest.mark.parametrize(
    "outer",
    [
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
    ],
    ids=lambda outer: str(outer)[:40],
)
async def test_a_start_succeeds_whatever_state_a_worker_forged(one: Stage, outer: dict[str, Any]) -> None:
    call = one.invite("c1")
    forge(one, call, outer, b"x" * 60)
    one.forget(call)
    for pair in bind_again(one.node.runtime_dir, "127.0.0.1", ()).values():
        pair.close()
    with closing(Checkpoints(one.node.runtime_dir / "live")) as checkpoints:
        here = RepairQueue(one.node, checkpoints.remove)
        Resume(one.node, one.recordings, one.live, one.executor, checkpoints, one.workers, here).run({}, {})
        assert not list(checkpoints.left())
    assert not list(one.live)


@pytest.mark.parametrize("first", [True, False])
async def test_a_worker_that_names_another_call_takes_nothing_from_it(one: Stage, first: bool) -> None:
    victim, broken = (one.invite("c1"), one.invite("c2"))[:: -1 if first else 1]
    for call in (victim, broken):
        one.executor.checkpoint(call)
    forge(one, broken, {"call": victim.id, "leaf": victim.leaf})
    with closing(Checkpoints(one.node.runtime_dir / "live")) as checkpoints:
        opened = []
        for outer in checkpoints.left():
            state = checkpoints.unseal(outer, victim.customer.keys)
            if state is None:
                checkpoints.remove(outer.call)
            else:
                opened.append(outer.call)
        assert opened == [victim.id] == [outer.call for outer in checkpoints.left()]


async def test_a_replayed_state_of_an_ended_call_does_not_revive_it(one: Stage) -> None:
    """Sealed and genuine, and kept from when the call lived: the worker had the descriptor of its file, too."""
    acme = one.node.customers["acme"]
    victim = one.invite("c1")
    one.executor.checkpoint(victim)
    (kept,) = [outer for outer in one.checkpoints.left() if outer.call == victim.id]
    tag = one.tag()
    one.hear(sip_request("BYE", "c1", 9, to=tag))
    await one.until(lambda: one.statuses("BYE"))
    await one.until(lambda: not acme.vault.left_open())
    await one.until(lambda: victim.id not in {outer.call for outer in one.checkpoints.left()})  # it is indexed
    parts = {ref.part for ref in acme.vault.walk() if ref.call == victim.id}
    broken = one.invite("c2")
    forge(one, broken, {"call": victim.id, "leaf": victim.leaf}, kept.sealed)
    one.forget(broken)
    one.node.endpoint._context.sessions.__init__()  # type: ignore[misc]  # that of a new process knows nobody
    with closing(Checkpoints(one.node.runtime_dir / "live")) as checkpoints:
        here = RepairQueue(one.node, checkpoints.remove)
        Resume(one.node, one.recordings, one.live, one.executor, checkpoints, one.workers, here).run({}, {})
        assert [call.id for call in one.live] == []
        assert await here.round()
    assert {ref.part for ref in acme.vault.walk() if ref.call == victim.id} == parts
    row = await acme.calls.get(victim.id)
    assert row and row.state.value == "complete"
