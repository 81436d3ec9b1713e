"""From a stored call to what a renderer needs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recorder.exports.render_client import RenderFailed
from recorder.exports.render_job import DAMAGED, INCOMPLETE
from recorder.exports.render_sources import caveat, lacks_files, media_parts, render_streams
from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.errors import Forgotten
from tests.in_process.recorder_node import Stage, stage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def row_of(acme: Customer, call: str) -> CallRow:
    """Return the row of a call of which a packet was stored."""
    row = await acme.calls.get(call)
    assert row
    return replace(row, details={**row.details, "streams": [{"packets": 1}]})


def test_only_dynamic_payload_types_are_passed_on() -> None:
    formats: Any = [
        {"pt": 96, "encoding": "opus", "clock": 48000, "channels": 2, "fmtp": "useinbandfec=1"},
        {"pt": 8, "encoding": None, "clock": None, "channels": None, "fmtp": None},
    ]
    (one,) = render_streams([{"label": None, "media": "audio", "formats": formats}])
    assert (one.index, one.label, one.media, list(one.payloads)) == (0, "1", "audio", [96])


async def test_a_call_with_stored_media_is_not_played_without_them(one: Stage) -> None:
    call = one.invite()
    acme = call.customer
    await one.indexer.drain(30)
    row, before = await row_of(acme, call.id), one.descriptors()
    async with media_parts(acme, row) as parts:
        assert [os.readlink(f"/proc/self/fd/{part.fd}").rpartition(".")[2] for part in parts] == ["m1"]
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
    assert not lacks_files(acme, replace(row, size_bytes=1 << 30))  # one that goes on is not judged

    one.bye()
    await one.until(lambda: not len(one.live))
    await one.indexer.drain(30)
    row = await row_of(acme, call.id)
    assert caveat(acme, row, {"torn_parts": 0}) is None
    assert caveat(acme, row, {"torn_parts": 1}) == INCOMPLETE
    told = caveat(acme, replace(row, size_bytes=1 << 30), {"streams": [{"unknown": ["EVS"]}]})
    assert told and told.startswith(INCOMPLETE) and "EVS" in told

    (media,) = [ref for ref in acme.vault.parts(row.id, row.leaf) if ref.part == "m1"]
    assert not lacks_files(acme, row)
    data = media.path.read_bytes()
    media.path.chmod(0o600)
    media.path.write_bytes(b"?" + data[1:])
    with pytest.raises(RenderFailed, match=DAMAGED):
        async with media_parts(acme, row):
            raise AssertionError("what does not open is not played")
    media.path.unlink()
    assert lacks_files(acme, row) and lacks_files(acme, replace(row, size_bytes=0))
    with pytest.raises(RenderFailed, match=DAMAGED):
        async with media_parts(acme, row):
            raise AssertionError("what is gone is not played")
    async with media_parts(acme, replace(row, details={**row.details, "streams": [{"packets": 0}]})) as parts:
        assert parts == []


async def test_whoever_reads_a_call_is_stopped_when_it_is_erased(one: Stage) -> None:
    call = one.invite()
    acme = call.customer
    await one.indexer.drain(30)
    row, before = await row_of(acme, call.id), one.descriptors()
    with pytest.raises(Forgotten):
        async with media_parts(acme, row):
            acme.keys.cut(row.leaf)
            await asyncio.sleep(60)
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
    assert not acme.vault.in_use.any()
    with pytest.raises(Forgotten):
        async with media_parts(acme, row):
            raise AssertionError("what is erased is not opened")
