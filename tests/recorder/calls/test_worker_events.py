"""What workers report: figures once each, their death survived, a full disk outlasted."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from cProfile import Profile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recorder.calls.live_call import LiveCall
from recorder.calls.worker_events import WorkerEvents
from recorder.workers import messages
from storage.errors import NoSpace
from tests.in_process.dtls_peer import Peer, offer
from tests.in_process.offers import KEYS, sdp
from tests.in_process.recorder_node import Stage, sip_request, stage
from tests.in_process.worker_call import Sender

MOST_STEPS = 45
"""Calls of functions, C ones too, for a call with two streams."""


def counts(packets: int, stream: int = 0) -> messages.Counts:
    return messages.Counts(stream, packets, 2, 0, 1, 0, 0, 40, 1000, 0)


def pid(one: Stage) -> int:
    return next(iter(one.node.workers._processes.values())).pid


def test_repeated_figures_are_counted_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            for packets in (10, 10, 25):
                one.workers.on_event(messages.Stats({call.id: (counts(packets),)}))
            page = one.node.metrics.page().decode()
            assert 'recorder_rtp_packets_total{result="stored"} 25.0' in page
            assert "recorder_gap_seconds_total 0.04" in page
            assert call.recording.call_document(one.node.now())["streams"][0]["packets"] == 25

    asyncio.run(story())


def test_the_figures_of_many_calls_are_added_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            calls = [one.invite(name) for name in ("c1", "c2")]
            for some in ((10, 10), (4, 20), (25, 25)):  # the worker of the first began anew from an older slot
                told = zip(calls, some, strict=True)
                one.workers.on_event(messages.Stats({c.id: (counts(n), counts(1, stream=1)) for c, n in told}))
            page = one.node.metrics.page().decode()
            assert 'recorder_rtp_packets_total{result="stored"} 58.0' in page  # 10 + 21 + 1 and 10 + 10 + 5 + 1
            assert "recorder_rtp_lost_total 8.0" in page
            assert "recorder_gap_seconds_total 0.16" in page

    asyncio.run(story())


def test_the_end_of_a_call_adds_only_the_rest_of_its_figures(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            one.workers.on_event(messages.Stats({call.id: (counts(10),)}))
            last = {"stream": 0, "packets": 12, "lost": 2, "duplicates": 0, "rejected": 1, "foreign": 0, "late": 0}
            one.workers.on_event(messages.Final(call.id, "m1", 0, (), ({**last, "gap_ms": 60, "mos": 4.4},), True))
            page = one.node.metrics.page().decode()
            assert 'recorder_rtp_packets_total{result="stored"} 12.0' in page
            assert "recorder_gap_seconds_total 0.06" in page
            assert call.recording.streams[0].figures["mos"] == 4.4

    asyncio.run(story())


def test_bad_figures_of_one_call_cost_no_other(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            spoilt, other = one.invite("c1"), one.invite("c2")
            spoilt.recording.streams[0].figures = {"packets": "many"}  # as a bug would leave it
            one.workers.on_event(messages.Stats({spoilt.id: (counts(1),), other.id: (counts(3),)}))
            assert [x.id for x in one.live] == [other.id]
            assert other.recording.streams[0].figures["packets"] == 3

    asyncio.run(story())


def test_figures_of_a_call_that_speaks_take_few_steps(tmp_path: Path) -> None:
    """They come for all calls every five seconds: a node with thousands does nothing else as often."""

    async def story() -> None:
        async with stage(tmp_path) as one:
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

    asyncio.run(story())


def test_a_killed_workers_call_continues_in_a_new_part(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            await one.until(lambda: one.node.workers.well)
            os.kill(pid(one), signal.SIGKILL)
            await one.until(lambda: call.files.media_part == 2)
            await one.until(lambda: call.customer.vault.find(call.id, call.leaf, "m1").finished)  # type: ignore[union-attr]  # it exists
            assert call.recording.alive
            one.bye()
            await one.until(lambda: one.statuses("BYE"))
            assert one.statuses("BYE") == [200]
            assert call.customer.vault.left_open() == []
            assert "worker-died" in [i["kind"] for i in one.node.incidents.of("acme")]

    asyncio.run(story())


def reoffer_without(one: Stage, call: LiveCall) -> None:
    """Take the second stream out: its line is something else from now on."""
    again = sip_request("INVITE", "c1", 2, sdp("sendonly", "image", version=2), to=one.tag())
    one.hear(again, sip_request("ACK", "c1", 2, to=one.tag()))
    assert call.recording.streams[1].removed


@asynccontextmanager
async def speaking(key: bytes) -> AsyncIterator[Sender]:
    sender = Sender(key, 0x77)
    try:
        yield sender
    finally:
        sender.socket.close()


async def heard(one: Stage, call: LiveCall, sender: Sender, count: int) -> None:
    """Send packets to the second stream and wait until its worker has them."""
    sender.send(call.sockets.pairs[1].port, count)
    while True:
        figures = await one.node.workers.snapshot(call.id)
        if figures.streams and figures.streams[1]["packets"] == sender.sent:
            return


async def over(one: Stage, call: LiveCall) -> dict[str, Any]:
    """Hang up and return what is said of the second stream at last."""
    one.bye()
    await one.until(lambda: not len(one.live))
    assert one.statuses("BYE") == [200]
    return dict(call.recording.call_document(one.node.now())["streams"][1])


def test_a_removed_stream_keeps_its_figures_when_a_worker_dies(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one, speaking(KEYS[1]) as sender:
            call = one.invite()
            await heard(one, call, sender, 30)
            reoffer_without(one, call)
            await one.until(lambda: list(call.sockets.pairs) == [0])
            os.kill(pid(one), signal.SIGKILL)
            await one.until(lambda: call.files.media_part == 2)
            shown = await over(one, call)
            assert (shown["packets"], shown["lost"], shown["gaps"]) == (30, 0, [])

    asyncio.run(story())


def test_a_removed_stream_loses_nothing_when_its_worker_dies(tmp_path: Path) -> None:
    """The sockets stay open until a worker has taken what came before the re-offer."""

    async def story() -> None:
        async with stage(tmp_path) as one, speaking(KEYS[1]) as sender:
            call = one.invite()
            await heard(one, call, sender, 30)
            stuck = pid(one)
            os.kill(stuck, signal.SIGSTOP)
            sender.send(call.sockets.pairs[1].port, 20)
            reoffer_without(one, call)
            os.kill(stuck, signal.SIGKILL)
            await one.until(lambda: call.files.media_part == 2)
            await one.until(lambda: list(call.sockets.pairs) == [0])
            shown = await over(one, call)
            assert (shown["packets"], shown["lost"], shown["gaps"]) == (50, 0, [])

    asyncio.run(story())


def test_a_worker_that_dies_on_a_full_disk_is_replaced_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            vault = type(call.customer.vault)
            create, full = vault.create, [True]

            def limited(self: object, *given: object) -> object:
                if full:
                    raise NoSpace("full")
                return create(call.customer.vault, *given)  # type: ignore[arg-type]  # as given

            monkeypatch.setattr(vault, "create", limited)
            os.kill(pid(one), signal.SIGKILL)
            await one.until(lambda: call.stranded)
            assert one.node.storage.well is False
            assert call.files.media_part == 1
            one.workers.help_stranded()
            assert call.stranded
            full.clear()
            one.workers.help_stranded()
            assert not call.stranded
            assert call.files.media_part == 2
            one.bye()
            await one.until(lambda: one.statuses("BYE"))
            assert one.statuses("BYE") == [200]

    asyncio.run(story())


def test_a_fault_of_the_worker_ends_the_call_as_interrupted(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            one.node.workers.drop(call.id)
            one.workers.on_event(messages.CallFault(call.id, "ValueError tape.py:1"))
            await one.until(lambda: not len(one.live))
            assert call.recording.shown_state() == "interrupted"
            assert call.recording.reason == "media-fault"

    asyncio.run(story())


def test_trouble_with_the_disk_stops_new_calls(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.workers.on_event(messages.DiskTrouble("unknown", 28))
            assert one.node.storage.well is False

    asyncio.run(story())


def test_a_worker_of_other_files_has_the_daemon_make_way(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            made: list[None] = []
            workers = WorkerEvents(one.node, one.live, one.executor, lambda: made.append(None))
            workers.on_event(messages.OtherVersion(0))
            assert made == [None]

    asyncio.run(story())


def test_a_bug_ends_one_call_and_no_event_after_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, other = one.invite("c1"), one.invite("c2")
            call.recording.streams = None  # type: ignore[assignment]  # as a bug would leave it
            one.workers.on_event(messages.Resumed(call.id, "m2", ()))
            one.workers.on_event(messages.Stats({call.id: (counts(1),), other.id: (counts(3),)}))
            assert [x.id for x in one.live] == [other.id]

    asyncio.run(story())


@pytest.mark.parametrize(
    "event", [messages.NeedPart("x"), messages.Resumed("x", "m2", ()), messages.RefusedPackets("x", 0, 1, 2)]
)
def test_events_of_calls_that_are_gone_are_nothing(tmp_path: Path, event: messages.WorkerEvent) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.workers.on_event(event)
            assert one.faults == []

    asyncio.run(story())


def test_handshake_keys_are_saved_sealed_and_a_failure_reported(tmp_path: Path) -> None:
    """Duty D2."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            peer = Peer(1)
            call = one.invite(offer=offer(peer))
            asked = call.recording.agreement.lines[0].fingerprints
            one.workers.on_event(messages.Keyed(call.id, 0, False, "AEAD_AES_128_GCM", b"t" * 28, b"o" * 28, asked))
            (outer,) = one.checkpoints.left()
            assert (b"t" * 28).hex().encode() not in outer.path.read_bytes()
            state = one.checkpoints.unseal(outer, call.customer.keys)
            assert state and state["recording"]["streams"][0]["keys"]["rtp"][1] == (b"t" * 28).hex()
            one.workers.on_event(messages.Unkeyed(call.id, 0, "fingerprint"))
            assert ("dtls-failed", "fingerprint") in [
                (x["kind"], x.get("reason")) for x in one.node.incidents.of("acme")
            ]
            assert call.recording.alive
            for gone in (messages.Keyed("gone", 0, False, "x", b"", b""), messages.Unkeyed("gone", 0, "timeout")):
                one.workers.on_event(gone)
            one.workers.on_event(messages.Severed("gone", 0))
            severed = b'recorder_dtls_handshakes_total{result="severed"} 1.0'
            assert severed not in one.node.metrics.page()
            call.recording.policy = replace(call.recording.policy, reoffers=True)
            one.workers.on_event(messages.Severed(call.id, 0))
            assert severed in one.node.metrics.page()
            assert call.recording.alive
            renewal, (outer,) = call.recording.agreement.renewal, one.checkpoints.left()
            state = one.checkpoints.unseal(outer, call.customer.keys)
            assert renewal and state and state["recording"]["renewal"][0] == renewal.fingerprint
            assert renewal.fingerprint in state["dialog"]["wanted"]  # a successor asks again
            peer.close()
            peer.socket.close()

    asyncio.run(story())
