"""The registry of live calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sip.ua.events import SessionKey
from tests.in_process.recorder_node import stage


def test_a_call_is_found_by_id_and_session_until_it_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            assert one.live.by_id(call.id) is call
            assert one.live.by_session(call.session) is call
            assert one.live.of_source("127.0.0.1") == one.live.of_customer("acme") == 1
            assert one.live.by_session(SessionKey("other")) is None
            one.forget(call)
            one.live.remove(call)
            assert one.live.by_id(call.id) is None
            assert one.live.by_session(call.session) is None
            assert len(one.live) == 0
            assert one.live.of_source("127.0.0.1") == one.live.of_customer("acme") == 0

    asyncio.run(story())


def test_files_are_closed_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            before = one.descriptors()
            call.files.close()
            call.files.close()
            assert (
                one.descriptors() == before - 2
            )  # control and media part; the file of the runtime directory stays its checkpoint's

    asyncio.run(story())


def test_calls_may_go_while_they_are_looked_through(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.invite("c1")
            one.invite("c2")
            for call in one.live:
                one.forget(call)
            assert len(one.live) == 0

    asyncio.run(story())
