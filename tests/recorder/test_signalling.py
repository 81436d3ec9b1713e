"""Whose call it is, whether it may be recorded, and that every question gets an answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from recorder import signalling
from sip.message import Response, parse
from tests.recorder.offers import sdp
from tests.recorder.stage import CONFIG, FLOW, sip_request, stage

OFFER = sdp("sendonly", "sendonly")


def test_a_call_of_nobody_is_refused_with_403(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace("127.0.0.0/8", "192.0.2.0/24")) as one:
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            assert one.statuses("INVITE") == [403]
            assert not len(one.live)

    asyncio.run(story())


def test_an_invite_without_an_offer_is_refused_with_488(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.hear(sip_request("INVITE", "c1", 1))
            assert one.statuses("INVITE") == [488]

    asyncio.run(story())


def test_beyond_the_limit_it_is_503_with_retry_after(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace("max_calls = 5", "max_calls = 1")) as one:
            one.invite("c1")
            one.hear(sip_request("INVITE", "c2", 1, OFFER))
            assert one.statuses("INVITE") == [200, 503]
            refusal = parse(one.said[-1])
            assert isinstance(refusal, Response)
            assert refusal.headers.get("Retry-After") == "30"

    asyncio.run(story())


def test_ill_storage_is_503(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.node.storage_trouble(OSError(28, "full"))
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            assert one.statuses("INVITE") == [503]

    asyncio.run(story())


def test_a_peer_without_a_way_back_is_refused_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(remote: str) -> str:
        raise OSError(101, "unreachable")

    async def story() -> None:
        async with stage(tmp_path) as one:
            monkeypatch.setattr(signalling, "_route_source", no_route)
            flow = replace(FLOW, local=("0.0.0.0", 5060))
            one.node.endpoint.receive_datagram(sip_request("INVITE", "c1", 1, OFFER), flow, time.monotonic())
            one.flush()
            assert one.statuses("INVITE") == [503]
            assert not len(one.live)

    asyncio.run(story())


def test_a_bug_on_the_way_is_answered_500(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            monkeypatch.setattr(one.signalling, "_customer", lambda event: 1 / 0)
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            assert one.statuses("INVITE") == [500]

    asyncio.run(story())


def test_the_answer_names_the_address_that_was_called(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            assert b"c=IN IP4 127.0.0.1" in one.invite().recording.answer_sdp

    asyncio.run(story())


def test_a_refused_reoffer_is_no_refused_call(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            one.hear(sip_request("INVITE", "c1", 2, b"v=0\r\n", to=one.tag()))
            assert one.statuses("INVITE") == [200, 488]
            assert call.recording.alive
            assert b'recorder_calls_total{result="refused"} 0.0' in one.node.metrics.page()

    asyncio.run(story())


def test_a_bye_of_an_unknown_dialog_is_481(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.hear(sip_request("BYE", "c1", 1, to=";tag=unknown"))
            assert one.statuses("BYE") == [481]

    asyncio.run(story())
