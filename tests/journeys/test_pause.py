"""A pause at the API: told to the client by re-INVITE where the customer's clients take it, thrown away otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from recorder.simulate.plan import Plan
from tests.daemon.coded_calls import SECONDS, Watched, missing, place
from tests.daemon.server import server

BEFORE = 10
"""Frames of the half second before the pause that are there, however late the machine is."""
PAUSED = 50
"""Frames of the pause, of 20 ms."""


@pytest.mark.parametrize(("told", "srtp"), [(True, "dtls"), (False, "AEAD_AES_128_GCM")])
def test_nothing_of_a_pause_is_stored_f6(tmp_path: Path, told: bool, srtp: str) -> None:
    with server(tmp_path, more=f"pause_by_reinvite = {str(told).lower()}") as one:
        token = one.init()
        one.start()
        it = Watched(one, token)

        def turn(what: str) -> None:
            (call,) = it.calls()
            base = f"http://{one.host}:{one.api}/api/v1/customers/acme"
            bearer = {"Authorization": f"Bearer {token}"}
            answer = httpx2.post(f"{base}/calls/{call['id']}/{what}", headers=bearer, timeout=SECONDS)
            assert answer.status_code == 200

        async def meanwhile() -> None:
            await it.until(lambda: [call["state"] for call in it.calls()] == ["recording"])
            await asyncio.sleep(0.5)
            await asyncio.to_thread(turn, "pause")
            for _ in range(PAUSED):  # frame by frame: a machine that stands still takes nothing from the sender's time
                await asyncio.sleep(0.02)
            await asyncio.to_thread(turn, "resume")

        to = f"sip:rec@127.0.0.1:{one.tls};transport=tls"
        (call,) = place([Plan(to=to, seconds=12, srtp=srtp, insecure=True)], meanwhile)
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
