"""From a stored call to what a renderer needs."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.exports.render_client import RenderFailed
from recorder.exports.render_job import DAMAGED, INCOMPLETE
from recorder.exports.render_sources import caveat, lacks_files, media_parts, render_streams
from storage.calls.call_index import CallRow
from storage.customer.customers import Customer
from tests.recorder.in_process_node import Stage, stage


def test_only_dynamic_payload_types_are_passed_on() -> None:
    formats = [
        {"pt": 96, "encoding": "opus", "clock": 48000, "channels": 2, "fmtp": "useinbandfec=1"},
        {"pt": 8, "encoding": None, "clock": None, "channels": None, "fmtp": None},
    ]
    (one,) = render_streams([{"label": None, "media": "audio", "formats": formats}])
    assert (one.index, one.label, one.media) == (0, "1", "audio")
    assert list(one.payloads) == [96]


async def test_only_media_parts_are_opened_and_all_are_closed(one: Stage) -> None:
    call = one.invite()
    await one.node.indexer.drain(30)
    row = await call.customer.calls.get(call.id)
    assert row
    before = one.descriptors()
    with media_parts(call.customer, row) as parts:
        assert [os.readlink(f"/proc/self/fd/{part.fd}").rpartition(".")[2] for part in parts] == ["m1"]
    assert one.descriptors() == before
    assert not lacks_files(call.customer, replace(row, size_bytes=1 << 30))  # one that goes on is not judged


async def test_a_call_with_stored_media_is_not_played_without_them(one: Stage) -> None:
    customer, row = await ended(one)
    silent = replace(row, details={**row.details, "streams": [{"packets": 0}]})
    (media,) = [ref for ref in customer.vault.parts(row.id, row.leaf) if ref.part == "m1"]
    assert not lacks_files(customer, row)
    data = media.path.read_bytes()
    media.path.chmod(0o600)
    media.path.write_bytes(b"?" + data[1:])
    with pytest.raises(RenderFailed, match=DAMAGED), media_parts(customer, row):
        raise AssertionError("what does not open is not played")
    media.path.unlink()
    assert lacks_files(customer, row) and lacks_files(customer, replace(row, size_bytes=0))
    with pytest.raises(RenderFailed, match=DAMAGED), media_parts(customer, row):
        raise AssertionError("what is gone is not played")
    with media_parts(customer, silent) as parts:
        assert parts == []


async def test_a_file_says_what_it_lacks(one: Stage) -> None:
    customer, row = await ended(one)
    assert caveat(customer, row, {"torn_parts": 0}) is None
    assert caveat(customer, row, {"torn_parts": 1}) == INCOMPLETE
    evs = {"streams": [{"unknown": ["EVS"]}]}
    told = caveat(customer, replace(row, size_bytes=1 << 30), evs)
    assert told and told.startswith(INCOMPLETE) and "EVS" in told


async def ended(one: Stage) -> tuple[Customer, CallRow]:
    """A call that is over, of which a packet was stored, as its row says."""
    call = one.invite()
    one.bye()
    await one.until(lambda: not len(one.live))
    await one.node.indexer.drain(30)
    row = await call.customer.calls.get(call.id)
    if row is None:
        raise LookupError("it is not in the index")
    return call.customer, replace(row, details={**row.details, "streams": [{"packets": 1}]})
