"""What workers report: figures once each, their death survived, a full disk outlasted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from cProfile import Profile
from dataclasses import replace
from typing import Any

import pytest

from recorder.calls.live_call import LiveCall
from recorder.calls.worker_events import WorkerEvents
from recorder.workers import messages
from storage.errors import NoSpace
from tests.in_process.dtls_peer import Peer, offer
from tests.in_process.offers import KEYS, sdp
from tests.in_process.recorder_node import Stage
from tests.in_process.worker_call import Sender
from tests.recorder.calls.client import hang_up, reinvite
from tests.recorder.calls.restart import kill_worker, worker

MOST_STEPS = 45
"""Calls of functions, C ones too, for a call with two streams."""


def counts(packets: int, stream: int = 0) -> messages.Counts:
    return messages.Counts(stream, packets, 2, 0, 1, 0, 0, 40, 1000, 0)


async def test_figures_are_counted_once_and_at_the_end_only_the_rest(one: Stage) -> None:
    call = one.invite()
    for packets in (10, 10, 25):
        one.workers.on_event(messages.Stats({call.id: (counts(packets),)}))
    page = one.node.metrics.page().decode()
    assert 'recorder_rtp_packets_total{result="stored"} 25.0' in page
    assert "recorder_gap_seconds_total 0.04" in page
    assert call.recording.call_document(one.node.now())["streams"][0]["packets"] == 25
    last: Any = {"stream": 0, "packets": 27, "lost": 2, "duplicates": 0, "rejected": 1, "foreign": 0, "late": 0}
    last.update(gap_ms=60, mos=4.4)
    one.workers.on_event(messages.Final(call.id, "m1", 0, (), (last,), True))
    page = one.node.metrics.page().decode()
    assert 'recorder_rtp_packets_total{result="stored"} 27.0' in page
    assert "recorder_gap_seconds_total 0.06" in page
    assert call.recording.streams[0].figures["mos"] == 4.4


async def test_a_bug_in_one_call_costs_no_other(one: Stage) -> None:
    """Each is as a bug would leave it."""
    spoilt, broken, other = (one.invite(name) for name in ("c1", "c2", "c3"))
    spoilt.recording.streams[0].figures = {"packets": "many"}
    broken.recording.streams = None  # type: ignore[assignment]  # see above
    one.workers.on_event(messages.Resumed(broken.id, "m2", ()))
    one.workers.on_event(messages.Stats({call.id: (counts(3),) for call in (spoilt, broken, other)}))
    assert [x.id for x in one.live] == [other.id]
    assert other.recording.streams[0].figures["packets"] == 3


async def test_figures_of_a_call_that_speaks_take_few_steps(one: Stage) -> None:
    """They come for all calls every five seconds: a node with thousands does nothing else as often."""
    calls = [one.invite(f"c{n}") for n in range(4)]
    packets = 0

    def steps(some: list[LiveCall]) -> int:
        nonlocal packets
        packets += 250
        told = messages.Stats({c.id: (counts(packets), counts(packets, stream=1)) for c in some})
        profile = Profile()
        profile.runcall(one.workers.on_event, told)
        return sum(entry.callcount for entry in profile.getstats())

    steps(calls)  # the first have lost packets
    assert (steps(calls) - steps(calls[:2])) / 2 <= MOST_STEPS


async def test_a_killed_workers_call_continues_in_a_new_part(one: Stage) -> None:
    call = one.invite()
    await one.until(lambda: one.resources.workers.well)
    kill_worker(one)
    await one.until(lambda: call.files.media_part == 2)
    await one.until(lambda: call.customer.vault.find(call.id, call.leaf, "m1").finished)
    assert call.recording.alive
    assert await hang_up(one) == [200]
    assert call.customer.vault.left_open() == []
    assert "worker-died" in [i["kind"] for i in one.node.incidents.of("acme")]


def reoffer_without(one: Stage, call: LiveCall) -> None:
    """Take the second stream out: its line is something else from now on."""
    reinvite(one, 2, sdp("sendonly", "image", version=2))
    assert call.recording.streams[1].removed


@pytest.fixture
def sender() -> Iterator[Sender]:
    """Have the client's sender of the second stream."""
    sender = Sender(KEYS[1], 0x77)
    yield sender
    sender.socket.close()


async def heard(one: Stage, call: LiveCall, sender: Sender, count: int) -> None:
    """Send packets to the second stream and wait until its worker has them."""
    sender.send(call.sockets.pairs[1].port, count)
    while True:
        figures = await one.resources.workers.snapshot(call.id)
        if figures.streams and figures.streams[1]["packets"] == sender.sent:
            return


async def over(one: Stage, call: LiveCall) -> dict[str, Any]:
    """Hang up and return what is said of the second stream at last."""
    assert await hang_up(one) == [200]
    return dict(call.recording.call_document(one.node.now())["streams"][1])


async def test_a_removed_stream_keeps_its_figures_when_a_worker_dies(one: Stage, sender: Sender) -> None:
    call = one.invite()
    await heard(one, call, sender, 30)
    reoffer_without(one, call)
    await one.until(lambda: list(call.sockets.pairs) == [0])
    kill_worker(one)
    await one.until(lambda: call.files.media_part == 2)
    shown = await over(one, call)
    assert (shown["packets"], shown["lost"], shown["gaps"]) == (30, 0, [])


async def test_a_removed_stream_loses_nothing_when_its_worker_dies(one: Stage, sender: Sender) -> None:
    """The sockets stay open until a worker has taken what came before the re-offer."""
    call = one.invite()
    await heard(one, call, sender, 30)
    stuck = worker(one)
    os.kill(stuck, signal.SIGSTOP)
    sender.send(call.sockets.pairs[1].port, 20)
    reoffer_without(one, call)
    os.kill(stuck, signal.SIGKILL)
    await one.until(lambda: call.files.media_part == 2)
    await one.until(lambda: list(call.sockets.pairs) == [0])
    shown = await over(one, call)
    assert (shown["packets"], shown["lost"], shown["gaps"]) == (50, 0, [])


async def test_a_worker_that_dies_on_a_full_disk_is_replaced_later(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    call = one.invite()
    vault = type(call.customer.vault)
    create, full = vault.create, [True]

    def limited(self: object, *given: object) -> object:
        if full:
            raise NoSpace("full")
        return create(call.customer.vault, *given)  # type: ignore[arg-type]  # as given

    monkeypatch.setattr(vault, "create", limited)
    kill_worker(one)
    await one.until(lambda: call.stranded)
    one.workers.help_stranded()
    assert (call.stranded, call.files.media_part, one.resources.storage.well) == (True, 1, False)
    full.clear()
    one.workers.help_stranded()
    assert (call.stranded, call.files.media_part) == (False, 2)
    assert await hang_up(one) == [200]


async def test_a_fault_of_the_worker_ends_the_call_as_interrupted(one: Stage) -> None:
    call = one.invite()
    one.resources.workers.drop(call.id)
    one.workers.on_event(messages.CallFault(call.id, "ValueError tape.py:1"))
    await one.until(lambda: not len(one.live))
    assert (call.recording.shown_state(), call.recording.reason) == ("interrupted", "media-fault")


async def test_a_full_disk_stops_calls_and_a_new_version_the_daemon(one: Stage) -> None:
    one.workers.on_event(messages.DiskTrouble("unknown", 28))
    assert one.resources.storage.well is False
    made: list[None] = []
    workers = WorkerEvents(
        one.node, one.resources.workers, one.resources.storage, one.live, one.executor, lambda: made.append(None)
    )
    workers.on_event(messages.OtherVersion(0))
    assert made == [None]


async def test_events_of_calls_that_are_gone_change_nothing(one: Stage) -> None:
    keyed = messages.Keyed("x", 0, False, "AEAD_AES_128_GCM", b"", b"")
    unkeyed, severed = messages.Unkeyed("x", 0, "timeout"), messages.Severed("x", 0)
    resumed, refused = messages.Resumed("x", "m2", ()), messages.RefusedPackets("x", 0, 1, 2)
    for event in (messages.NeedPart("x"), resumed, refused, keyed, unkeyed, severed):
        one.workers.on_event(event)
    assert one.faults == [] and b'handshakes_total{result="severed"} 1.0' not in one.node.metrics.page()


async def test_handshake_keys_are_saved_sealed_and_a_failure_reported(one: Stage) -> None:
    """Duty D2."""
    peer = Peer(1)
    call = one.invite(offer=offer(peer))
    asked = call.recording.agreement.lines[0].fingerprints
    one.workers.on_event(messages.Keyed(call.id, 0, False, "AEAD_AES_128_GCM", b"t" * 28, b"o" * 28, asked))
    (outer,) = one.checkpoints.left()
    assert (b"t" * 28).hex().encode() not in outer.path.read_bytes()
    state = one.checkpoints.unseal(outer, call.customer.keys)
    assert state and state["recording"]["streams"][0]["keys"]["rtp"][1] == (b"t" * 28).hex()
    one.workers.on_event(messages.Unkeyed(call.id, 0, "fingerprint"))
    assert ("dtls-failed", "fingerprint") in [(x["kind"], x.get("reason")) for x in one.node.incidents.of("acme")]
    call.recording.policy = replace(call.recording.policy, reoffers=True)
    one.workers.on_event(messages.Severed(call.id, 0))
    assert b'recorder_dtls_handshakes_total{result="severed"} 1.0' in one.node.metrics.page()
    assert call.recording.alive
    renewal, (outer,) = call.recording.agreement.renewal, one.checkpoints.left()
    state = one.checkpoints.unseal(outer, call.customer.keys)
    assert renewal and state and state["recording"]["renewal"][0] == renewal.fingerprint
    assert renewal.fingerprint in state["dialog"]["wanted"]  # a successor asks again
    peer.close()
    peer.socket.close()
