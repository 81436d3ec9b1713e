"""A call while it is recorded: known from its answer on, heard and measured up to now, held and paused at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2

from recorder.simulate.plan import Plan
from tests.daemon.coded_calls import SECONDS, Watched, place
from tests.daemon.server import server

ENOUGH = 50
"""Frames of 20 ms that a call has sent when it is looked at."""


def test_a_live_call_can_be_played_measured_and_held(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        token = one.init()
        one.start()
        it = Watched(one, token)
        seen: dict[str, Any] = {}

        def turn(method: str, path: str, **more: Any) -> int:
            base = f"http://{one.host}:{one.api}/api/v1/customers/acme"
            headers = {"Authorization": f"Bearer {token}"}
            return httpx2.request(method, base + path, headers=headers, timeout=SECONDS, **more).status_code

        async def meanwhile() -> None:
            await it.until(lambda: it.figure("recorder_calls_active") == 1)
            # the index has it 2 s after its answer
            (first,) = await asyncio.to_thread(it.calls)
            seen["first"] = first
            call = f"/calls/{first['id']}"
            assert (await asyncio.to_thread(turn, "PUT", f"{call}/hold", json={"reason": "r"})) == 200
            (held,) = await asyncio.to_thread(it.calls)
            assert held["hold"] is True
            assert (await asyncio.to_thread(it.ask, "/calls?hold=true")).json()["items"][0]["id"] == first["id"]

            def spoken() -> bool:
                shown = it.ask(call).json()
                seen["shown"] = shown
                return min(stream["packets"] for stream in shown["streams"]) >= ENOUGH

            await it.until(spoken)
            (seen["listed"],) = await asyncio.to_thread(it.calls)
            seen["channels"] = await asyncio.to_thread(it.channels, first["id"])
            seen["waveform"] = (await asyncio.to_thread(it.ask, f"{call}/waveform")).json()
            assert (await asyncio.to_thread(turn, "POST", f"{call}/pause")) == 200
            assert (await asyncio.to_thread(turn, "DELETE", f"{call}/hold")) == 204

        to = f"sip:rec@127.0.0.1:{one.tls};transport=tls"
        (call,) = place([Plan(to=to, seconds=6, insecure=True)], meanwhile)
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
        over = it.over([call])[call.session_id]
        assert over["id"] == seen["first"]["id"] and over["hold"] is False
