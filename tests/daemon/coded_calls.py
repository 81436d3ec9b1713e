"""Calls in whose recordings every frame can be identified: place them, find the recordings and the missing frames."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from media.records import record_format
from recorder.config.loader import load
from recorder.maintenance.verify import verify_customer
from recorder.persist.customers import open_customers
from recorder.simulate.coded import SAMPLES, Found
from recorder.simulate.compare import difference
from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport, StreamReport
from recorder.simulate.run import run
from tests.daemon.api import Api, until
from tests.daemon.server import Server


def wishes(one: Server, calls: int, seconds: float, hold: float = 0.0) -> list[Plan]:
    """Return the calls to place: half over UDP, half over TLS, each with every suite in turn."""
    udp = Plan(to=one.uri("udp"), calls=calls - calls // 2)
    tls = Plan(to=one.uri("tls"), calls=calls // 2, insecure=True)
    return [
        Plan(to=p.to, calls=p.calls, insecure=p.insecure, seconds=seconds, hold=hold, srtp="all", rate=25)
        for p in (udp, tls)
    ]


def place(
    plans: Sequence[Plan], meanwhile: Callable[[], Awaitable[None]] | None = None, *, left: bool = False
) -> list[CallReport]:
    """Place calls and run `meanwhile` during them; return the clients' reports.

    With `left`, the clients vanish as soon as `meanwhile` is done, before the end of the calls, and report nothing.
    """

    async def story() -> list[CallReport]:
        running = [asyncio.create_task(run(plan)) for plan in plans]
        try:
            if meanwhile:
                await meanwhile()
            if left:
                return []
            return [call for report in await asyncio.gather(*running) for call in report.calls]
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    return asyncio.run(story())


def missing(stream: StreamReport, found: Sequence[Found]) -> tuple[int, ...]:
    """Return the frames that a channel lacks; check that everything else is as it was sent."""
    seen = difference(stream, found, 0)
    assert seen.foreign == 0
    assert seen.doubled == ()
    assert len({frame.position - SAMPLES * frame.frame for frame in found}) <= 1
    return seen.missing


def reasons(stream: dict[str, Any]) -> set[str]:
    """Return why audio is missing. "no media" is not a loss: nothing was sent while a hold or BYE was repeated."""
    return {why for _, _, why in stream["gaps"] if why != "no media"}


def stored_twice(one: Server) -> list[tuple[str, int, int]]:
    """Return the packets that a stopped server's parts contain more than once: call, SSRC and sequence."""

    async def story() -> list[tuple[str, int, int]]:
        customers = await open_customers(load(one.config))
        counts: Counter[tuple[str, int, int]] = Counter()
        try:
            for ref in customers["acme"].vault.walk():
                for record in record_format.read(customers["acme"].vault.read(ref)):
                    if isinstance(record, record_format.Run | record_format.Mixed):
                        counts.update((ref.call, record.ssrc, record.sequence + i) for i in range(len(record.payloads)))
                    elif isinstance(record, record_format.Packet):
                        ssrc = int.from_bytes(record.packet[8:12])
                        counts[ref.call, ssrc, record.sequence] += 1
        finally:
            await customers.close()
        return [key for key, count in counts.items() if count > 1]

    return asyncio.run(story())


def verified(one: Server) -> list[Any]:
    """Return the defects that `recorder verify` finds in the data of a stopped server."""

    async def story() -> list[Any]:
        everybody = await open_customers(load(one.config))
        try:
            return (await verify_customer(everybody["acme"], [], lambda _: None)).defects
        finally:
            await everybody.close()

    return asyncio.run(story())


def record(api: Api, count: int = 1, seconds: float = 1) -> list[dict[str, Any]]:
    """Place calls until they are recorded and indexed; return them, oldest first."""
    before = {call["id"] for call in api.calls()}
    placed = place([Plan(to=api.one.uri(), calls=count, seconds=seconds)])
    assert [call.status for call in placed] == [200] * count
    api.over(placed)
    until(lambda: api.figure("recorder_oldest_unindexed_seconds") == 0)
    return [call for call in reversed(api.calls()) if call["id"] not in before]


def nothing_missing(it: Api, calls: Sequence[CallReport]) -> None:
    """Check that every frame of every call is recorded, and that every call ended normally."""
    assert [(call.number, call.faults) for call in calls if not call.well] == []
    recorded = it.over(calls)
    for call in calls:
        mine = recorded[call.session_id]
        channels = it.channels(mine["id"])
        lost = [missing(s, found) for s, found in zip(call.streams, channels, strict=True)]
        assert lost == [(), ()], (call.to, lost, mine["streams"])
        assert (mine["state"], [reasons(s) for s in mine["streams"]]) == ("complete", [set(), set()])


def held(it: Api, calls: Sequence[CallReport]) -> list[tuple[CallReport, dict[str, Any], list[int]]]:
    """Return each call with its recording and its missing frames by stream; check that all dialogs went on."""
    assert [(call.number, call.faults) for call in calls if not call.well] == []
    out = []
    recorded = it.over(calls)
    for call in calls:
        mine = recorded[call.session_id]
        channels = it.channels(mine["id"])
        lacks = [len(missing(s, found)) for s, found in zip(call.streams, channels, strict=True)]
        assert [s["packets"] for s in mine["streams"]] == [
            s.frames - lack for s, lack in zip(call.streams, lacks, strict=True)
        ]
        assert [len(s["pauses"]) for s in mine["streams"]] == [1, 1]
        out.append((call, mine, lacks))
    return out


def nothing_lost(it: Api, calls: Sequence[CallReport]) -> None:
    for _, mine, lacks in held(it, calls):
        assert lacks == [0, 0]
        assert [(stream["lost"], reasons(stream)) for stream in mine["streams"]] == [(0, set())] * 2
        assert (mine["state"], mine["end_reason"]) == ("complete", "bye")


def in_order(it: Api) -> None:
    """Stop the server and check that its data are intact and contain no packet twice."""
    assert "Traceback" not in it.one.log.read_text()
    assert it.one.stop() == 0
    assert verified(it.one) == []
    assert stored_twice(it.one) == []


def whole_or_marked(it: Api, calls: list[CallReport]) -> list[str]:
    """Compare recordings with what was sent; return their states. Missing frames must be marked with reason "disk"."""
    recorded, states = it.over(calls), []
    for call in calls:
        mine = recorded[call.session_id]
        for sent, said, found in zip(call.streams, mine["streams"], it.channels(mine["id"]), strict=True):
            lack = missing(sent, found)
            assert said["gap_ms"] >= 20 * len(lack)
            assert said["packets"] == sent.frames - len(lack)
            assert not lack or (mine["state"], [gap[2] for gap in said["gaps"]]) == ("interrupted", ["disk"])
        states.append(mine["state"])
    return states
