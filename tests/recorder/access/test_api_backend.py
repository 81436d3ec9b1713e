"""The daemon's side of the admin API."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from admin_api.calls import waveform
from admin_api.http.ports import CannotRender
from recorder.access import api_backend
from recorder.calls.live_call import LiveCall
from recorder.exports import wav_stream
from storage.calls.call_row import CallRow, CallState, Query
from tests.in_process.recorder_node import Stage
from tests.recorder.calls.client import hang_up
from tests.recorder.calls.restart import worker

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALL = "00000001-2222-4333-8444-555555555555"


async def ended(one: Stage, call: LiveCall) -> CallRow:
    """End a call; return its row of the index."""
    await hang_up(one)
    await one.indexer.drain(30)
    row = await call.customer.calls.get(call.id)
    assert row
    return row


async def test_a_live_call_can_be_paused_only_by_its_customer(one: Stage) -> None:
    call, daemon = one.invite(), one.backend()
    shown = daemon.document("acme", call.id)
    assert shown and shown["state"] == "recording"
    assert daemon.document("other", call.id) is None
    assert not daemon.pause("other", call.id)
    assert daemon.pause("acme", call.id)
    paused = call.recording.paused
    assert daemon.resume("acme", call.id)
    assert (paused, call.recording.paused) == (True, False)
    one.bye()
    assert not daemon.pause("acme", call.id)
    await one.until(lambda: not len(one.live))
    waiting = daemon.document("acme", call.id)
    assert waiting is None or waiting["state"] == "complete"
    await one.indexer.drain(30)
    assert daemon.document("acme", call.id) is None


async def test_a_call_is_rendered_and_a_long_one_sent_meanwhile(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    call, daemon = one.invite(), one.backend()
    row = await ended(one, call)
    before = one.descriptors()
    with pytest.raises(CannotRender):
        await daemon.render(call.customer, row, "doc")
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
    seen = await daemon.render(call.customer, row, "peaks")
    assert waveform.read(call.id, os.pread(seen.descriptor, seen.size, 0))["channels"]
    os.close(seen.descriptor)
    rendered = await daemon.render(call.customer, row, "wav")
    stream: Any = await daemon.stream(call.customer, row)
    sound = b"".join([chunk async for chunk in stream.chunks(0, stream.size)])
    assert sound == os.pread(rendered.descriptor, rendered.size, 0)
    assert (rendered.content_type, sound[:4]) == ("audio/wav", b"RIFF")
    stream.close()
    await stream._worker.wait()
    os.close(rendered.descriptor)
    await one.until(lambda: one.descriptors() <= before)  # as above
    monkeypatch.setattr(wav_stream, "TIME_OUT", 0)
    with pytest.raises(CannotRender) as refused:
        await daemon.stream(call.customer, row)
    assert refused.value.later
    long = [replace(row, duration_ms=length) for length in (row.duration_ms, 3_600_000, None)]  # type: ignore[arg-type]  # an older version may have written none
    assert [daemon.is_long(call.customer, each, "wav") for each in long] == [False, True, True]
    assert not daemon.is_long(call.customer, long[1], "flac")


async def test_health_and_terms_are_those_of_the_daemon(one: Stage) -> None:
    reasons = iter([None, "draining"])
    daemon = one.backend(system=one.system(lambda: next(reasons)))
    assert [daemon.not_ready() for _ in range(2)] == [None, "draining"]
    assert b"recorder_calls_active" in daemon.metrics()
    assert daemon.incidents("acme") == []
    then = datetime(2026, 3, 1, tzinfo=UTC)
    assert one.backend(lambda: then).sweep_terms() == (then, 5)
    assert daemon.sweep_terms()[0] > then


async def test_a_call_is_settled_while_older_ones_are_not_indexed(one: Stage) -> None:
    """So that something can be put beside it."""
    call, daemon = one.invite(), one.backend()

    async def rebuilding(_customer: str, _seconds: float) -> bool:
        return False

    one.indexer.follow_repair(rebuilding, lambda _: True)
    assert await daemon.settle("acme", call.id)
    assert not await daemon.settle_all("acme")
    await call.customer.holds.put(call.id, "case 7", "test")
    assert (await ended(one, call)).hold


async def test_a_call_is_found_before_it_is_indexed(one: Stage) -> None:
    call, daemon = one.invite(), one.backend()  # nothing has had time to be written
    acme = call.customer

    async def found(query: Query) -> list[CallRow]:
        return [*(await acme.calls.find(query, await daemon.unwritten(acme))).items]

    assert await acme.calls.get(call.id) is None
    assert [row.id for row in await found(Query(state=CallState.RECORDING))] == [call.id]
    assert await found(Query(state=CallState.COMPLETE)) == []
    await daemon.settle("acme", call.id)
    await acme.holds.put(call.id, "case 7", "test")
    daemon.pause("acme", call.id)  # it waits again, with what only main knows
    (row,) = await found(Query(hold=True))
    assert row.details["paused"] and row == replace(row, hold=True)
    await hang_up(one)
    waits = await daemon.unwritten(acme, call.id)
    (ended,) = await found(Query())
    assert [each.live for each in waits] == [False]
    await one.indexer.drain(30)
    assert ended == await acme.calls.get(call.id)
    assert await daemon.unwritten(acme) == []

    erased = one.invite("c2")
    await hang_up(one, "c2")
    acme.keys.cut(erased.leaf)  # while it waits for the index
    assert [row.id for row in await found(Query())] == [call.id] and daemon.document("acme", erased.id) is None
    await one.indexer.drain(30)
    assert await acme.calls.get(erased.id) is None


async def test_a_live_call_is_shown_without_waiting_for_a_hung_worker(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_backend, "MEASURE_SECONDS", 0.1)
    call, daemon = one.invite(), one.backend()
    shown = (await daemon.documents("acme", [call.id, CALL], measured=True))[call.id]
    assert shown["size_bytes"] == sum(ref.path.stat().st_size for ref in call.customer.vault.parts(call.id, call.leaf))
    assert shown["size_bytes"] > 0 and len(shown["streams"]) == 2
    assert await daemon.documents("other", [call.id]) == {}
    os.kill(worker(one), signal.SIGSTOP)
    try:
        again = (await daemon.documents("acme", [call.id], measured=True))[call.id]
    finally:
        os.kill(worker(one), signal.SIGCONT)
    assert again["streams"] == daemon.document("acme", call.id)["streams"]  # type: ignore[index]  # it is live
