"""The daemon's side of the admin API."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from admin_api.calls import call_views, waveform
from admin_api.http.ports import CannotRender
from recorder.access import api_backend as desk_module
from recorder.access.api_backend import Daemon
from recorder.calls.status import System
from recorder.exports import wav_stream
from storage.calls.call_row import CallRow, CallState, Query
from storage.directory.user import Person
from tests.in_process.recorder_node import stage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALL = "00000001-2222-4333-8444-555555555555"


def test_a_live_call_can_be_paused_only_by_its_customer(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, daemon = one.invite(), Daemon(one.node, one.live, one.executor)
            shown = daemon.document("acme", call.id)
            assert shown
            assert shown["state"] == "recording"
            assert daemon.document("other", call.id) is None
            assert not daemon.pause("other", call.id)
            assert daemon.pause("acme", call.id)
            assert call.recording.paused
            assert daemon.resume("acme", call.id)
            assert not call.recording.paused
            one.bye()
            assert not daemon.pause("acme", call.id)
            await one.until(lambda: not len(one.live))
            waiting = daemon.document("acme", call.id)
            assert waiting is None or waiting["state"] == "complete"
            await one.node.indexer.drain(30)
            assert daemon.document("acme", call.id) is None

    asyncio.run(story())


def test_a_call_not_yet_indexed_names_its_users(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            acme, daemon = one.node.customers["acme"], Daemon(one.node, one.live, one.executor)
            party = {"number": "+4930123456", "uri": "sip:+4930123456@pbx.example"}
            leaf = acme.keys.allocate(20_513)
            row = CallRow(CALL, leaf, CallState.COMPLETE, NOON, NOON, 10, 0, details={"parties": [party]})
            await acme.users.carry_out(
                await acme.users.one(Person(account_name="ada", numbers=("+4930123456",)), "api")
            )
            one.node.indexer.put(acme, row, ())
            shown = daemon.document("acme", CALL)
            assert shown and "user_id" not in shown["parties"][0]  # nobody knows who was who yet
            assert call_views.call(row, shown) == call_views.call(
                row, None
            )  # as it will be shown once it is in the index
            await acme.correlation.load()
            one.node.indexer.put(acme, row, ())
            shown = daemon.document("acme", CALL)
            (user,), _ = await acme.users.listed(9)
            assert shown and shown["parties"][0]["user_id"] == user.id

    asyncio.run(story())


def test_an_unknown_format_leaks_no_descriptor(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, daemon = one.invite(), Daemon(one.node, one.live, one.executor)
            one.bye()
            await one.until(lambda: not len(one.live))
            await one.node.indexer.drain(30)
            row = await call.customer.calls.get(call.id)
            assert row
            before = one.descriptors()
            with pytest.raises(CannotRender):
                await daemon.render(call.customer, row, "doc")
            assert one.descriptors() <= before  # a thread may have been syncing a folder
            rendered = await daemon.render(call.customer, row, "wav")
            assert rendered.content_type == "audio/wav"
            assert os.pread(rendered.descriptor, 4, 0) == b"RIFF"
            os.close(rendered.descriptor)
            seen = await daemon.render(call.customer, row, "peaks")
            assert waveform.read(os.pread(seen.descriptor, seen.size, 0))["channels"]
            os.close(seen.descriptor)
            assert one.descriptors() <= before  # a thread may have been syncing a folder

    asyncio.run(story())


def test_a_long_call_is_opened_to_be_sent_while_it_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, daemon = one.invite(), Daemon(one.node, one.live, one.executor)
            one.bye()
            await one.until(lambda: not len(one.live))
            await one.node.indexer.drain(30)
            row = await call.customer.calls.get(call.id)
            assert row and not daemon.is_long(call.customer, row, "wav")
            hours = replace(row, duration_ms=3_600_000)
            assert daemon.is_long(call.customer, hours, "wav") and not daemon.is_long(call.customer, hours, "flac")
            assert daemon.is_long(call.customer, replace(row, duration_ms=None), "wav")
            rendered = await daemon.render(call.customer, row, "wav")
            stream = await daemon.stream(call.customer, row)
            sound = b"".join([chunk async for chunk in stream.chunks(0, stream.size)])
            assert sound == os.pread(rendered.descriptor, rendered.size, 0)
            stream.close()
            await stream._worker.wait()
            os.close(rendered.descriptor)
            monkeypatch.setattr(wav_stream, "TIME_OUT", 0)
            with pytest.raises(CannotRender) as refused:
                await daemon.stream(call.customer, row)
            assert refused.value.later

    asyncio.run(story())


def test_health_is_what_housekeeping_and_metrics_say(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            why: list[str | None] = [None]
            daemon = Daemon(one.node, one.live, one.executor, system=System(one.node, one.live, lambda: why[0]))
            assert daemon.not_ready() is None
            why[0] = "draining"
            assert daemon.not_ready() == "draining"
            assert b"recorder_calls_active" in daemon.metrics()
            assert daemon.incidents("acme") == []

    asyncio.run(story())


def test_a_call_is_settled_before_something_is_put_beside_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, daemon = one.invite(), Daemon(one.node, one.live, one.executor)
            assert await daemon.settle("acme", call.id)
            hold = await call.customer.holds.put(call.id, "case 7", "test")
            assert hold.call == call.id
            one.bye()
            await one.until(lambda: not len(one.live))
            await one.node.indexer.drain(30)
            row = await call.customer.calls.get(call.id)
            assert row and row.hold

    asyncio.run(story())


def test_a_live_call_settles_while_older_ones_are_not_indexed(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, daemon = one.invite(), Daemon(one.node, one.live, one.executor)

            async def rebuilding(_customer: str, _seconds: float) -> bool:
                return False

            one.node.indexer.follow_repair(rebuilding, lambda _: True)
            assert await daemon.settle("acme", call.id)
            assert await call.customer.calls.get(call.id) is not None
            assert not await daemon.settle_all("acme")

    asyncio.run(story())


def test_an_erased_call_is_hidden_while_it_waits_for_the_index(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, daemon = one.invite(), Daemon(one.node, one.live, one.executor)
            one.bye()
            await one.until(lambda: not len(one.live))
            call.customer.keys.cut(call.leaf)
            assert daemon.document("acme", call.id) is None
            await one.node.indexer.drain(30)
            assert await call.customer.calls.get(call.id) is None

    asyncio.run(story())


def test_a_call_is_found_before_it_is_indexed(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call, daemon = one.invite(), Daemon(one.node, one.live, one.executor)  # nothing has had time to be written
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
            one.bye()
            await one.until(lambda: not len(one.live))
            waits = await daemon.unwritten(acme, call.id)
            (ended,) = await found(Query())
            assert [each.live for each in waits] == [False]
            await one.node.indexer.drain(30)
            assert ended == await acme.calls.get(call.id)
            assert await daemon.unwritten(acme) == []

            erased = one.invite("c2")
            acme.keys.cut(erased.leaf)
            assert [row.id for row in await found(Query())] == [call.id]

    asyncio.run(story())


def test_a_live_call_is_shown_without_waiting_for_a_hung_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "MEASURE_SECONDS", 0.1)

    async def story() -> None:
        async with stage(tmp_path) as one:
            call, daemon = one.invite(), Daemon(one.node, one.live, one.executor)
            shown = (await daemon.documents("acme", [call.id, CALL], measured=True))[call.id]
            assert shown["size_bytes"] == sum(
                ref.path.stat().st_size for ref in call.customer.vault.parts(call.id, call.leaf)
            )
            assert shown["size_bytes"] > 0 and len(shown["streams"]) == 2
            assert await daemon.documents("other", [call.id]) == {}
            worker = one.node.workers._processes[0].pid
            os.kill(worker, signal.SIGSTOP)
            try:
                again = (await daemon.documents("acme", [call.id], measured=True))[call.id]
            finally:
                os.kill(worker, signal.SIGCONT)
            assert again["streams"] == daemon.document("acme", call.id)["streams"]  # type: ignore[index]  # it is live

    asyncio.run(story())


def test_the_terms_of_a_sweep_are_those_of_the_daemon(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            then = datetime(2026, 3, 1, tzinfo=UTC)
            assert Daemon(one.node, one.live, one.executor, lambda: then).sweep_terms() == (then, 5)
            assert Daemon(one.node, one.live, one.executor).sweep_terms()[0] > then

    asyncio.run(story())
