"""A call while it is recorded: known from its answer on, heard and measured up to now, and paused at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.plan import Plan
from tests.daemon.api import running
from tests.daemon.coded_calls import missing, place

ENOUGH = 50
"""Frames of 20 ms that a call has sent when it is looked at."""
BEFORE = 10
"""Frames of the half second before the pause that are there, however late the machine is."""
PAUSED = 50
"""Frames of the pause, of 20 ms."""


def test_a_live_call_can_be_played_and_measured(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        seen: dict[str, Any] = {}

        async def meanwhile() -> None:
            await it.until(lambda: it.figure("recorder_calls_active") == 1)
            # the index has it 2 s after its answer
            (first,) = await asyncio.to_thread(it.calls)
            seen["first"] = first
            call = f"/calls/{first['id']}"

            def spoken() -> bool:
                shown = it.get(call).json()
                seen["shown"] = shown
                return min(stream["packets"] for stream in shown["streams"]) >= ENOUGH

            await it.until(spoken)
            (seen["listed"],) = await asyncio.to_thread(it.calls)
            seen["channels"] = await asyncio.to_thread(it.channels, first["id"])
            seen["waveform"] = (await asyncio.to_thread(it.get, f"{call}/waveform")).json()

        (call,) = place([Plan(to=it.one.uri("tls"), seconds=10, insecure=True)], meanwhile)
        assert (call.status, call.faults) == (200, [])
        assert seen["first"]["session_id"] == call.session_id and seen["first"]["state"] == "recording"
        shown = seen["shown"]
        assert shown["size_bytes"] > ENOUGH * 160 and seen["listed"]["size_bytes"] >= shown["size_bytes"]
        for stream in shown["streams"]:
            assert stream["first_packet_at"] >= shown["started_at"] and stream["jitter_ms"] is not None
        for stream, channel in zip(call.streams, seen["channels"], strict=True):
            frames, first = [found.frame for found in channel], stream.sent[0][0]
            assert frames == list(range(first, first + len(frames))) and len(frames) >= ENOUGH // 2
        assert seen["waveform"]["duration_s"] >= 0.5 and len(seen["waveform"]["channels"]) == len(shown["streams"])
        assert it.over([call])[call.session_id]["id"] == seen["first"]["id"]


@pytest.mark.parametrize(("told", "srtp"), [(True, "dtls"), (False, "AEAD_AES_128_GCM")])
def test_nothing_of_a_pause_is_stored_f6(tmp_path: Path, told: bool, srtp: str) -> None:
    with running(tmp_path, more=f"pause_by_reinvite = {str(told).lower()}") as it:

        def turn(what: str) -> None:
            (call,) = it.calls()
            assert it.ask("POST", f"/calls/{call['id']}/{what}").status_code == 200

        async def meanwhile() -> None:
            await it.until(lambda: [call["state"] for call in it.calls()] == ["recording"])
            await asyncio.sleep(0.5)
            await asyncio.to_thread(turn, "pause")
            for _ in range(PAUSED):  # frame by frame: a machine that stands still takes nothing from the sender's time
                await asyncio.sleep(0.02)
            await asyncio.to_thread(turn, "resume")

        (call,) = place([Plan(to=it.one.uri("tls"), seconds=10, srtp=srtp, insecure=True)], meanwhile)
        assert (call.status, call.faults) == (200, [])
        recorded = it.over([call])[call.session_id]
        found = it.channels(recorded["id"])
        for number, stream in enumerate(call.streams):
            assert len(recorded["streams"][number]["pauses"]) == 1
            assert recorded["streams"][number]["gap_ms"] == 0
            lost = missing(stream, found[number])
            if told:
                (_, silent), _ = stream.sent
                # what was sent until the client had heard of the pause
                begun = silent - len(lost)
                assert lost == tuple(range(begun, silent))
            else:
                ((_, end),) = stream.sent
                begun = lost[0]
                assert len(lost) >= PAUSED - 20
                assert lost == tuple(range(begun, begun + len(lost)))
                assert lost[-1] < end - 1
            assert begun >= BEFORE
