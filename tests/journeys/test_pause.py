"""A pause at the API: told to the client by re-INVITE where the customer's clients take it, thrown away otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from recorder.simulate.plan import Plan
from tests.journeys.coded_calls import Watched, missing, place
from tests.journeys.server import server

PAUSED = 50
"""Frames of the pause, of 20 ms."""


@pytest.mark.parametrize(("told", "srtp"), [(True, "dtls"), (False, "AEAD_AES_128_GCM")])
def test_a_pause_stops_the_client_where_it_takes_that_and_nothing_of_it_is_kept_in_any_case_f6(
    tmp_path: Path, told: bool, srtp: str
) -> None:
    with server(tmp_path, more=f"pause_by_reinvite = {str(told).lower()}") as one:
        token = one.init()
        one.start()
        it = Watched(one, token)

        def turn(what: str) -> None:
            (call,) = it.calls()
            base = f"http://{one.host}:{one.api}/api/v1/customers/acme"
            answer = httpx2.post(f"{base}/calls/{call['id']}/{what}", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200

        async def meanwhile() -> None:
            await it.until(lambda: [call["state"] for call in it.calls()] == ["recording"])
            await asyncio.sleep(0.5)
            await asyncio.to_thread(turn, "pause")
            await asyncio.sleep(PAUSED * 0.02)
            await asyncio.to_thread(turn, "resume")

        to = f"sip:rec@127.0.0.1:{one.tls};transport=tls"
        (call,) = place([Plan(to=to, seconds=8, srtp=srtp, insecure=True)], meanwhile)
        assert (call.status, call.faults) == (200, [])
        recorded = it.over([call])[call.session_id]
        found = it.channels(recorded["id"])
        for number, stream in enumerate(call.streams):
            assert len(recorded["streams"][number]["pauses"]) == 1
            assert recorded["streams"][number]["gap_ms"] == 0
            lost = len(missing(stream, found[number]))
            stretches = [end - begin for begin, end in stream.sent]
            if told:
                assert len(stretches) == 2
                assert lost <= 5  # what was on its way when the pause began
            else:
                assert len(stretches) == 1
                assert lost >= PAUSED - 10
