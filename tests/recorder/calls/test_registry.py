"""The registry of live calls."""

from __future__ import annotations

from sip.ua.events import SessionKey
from tests.recorder.in_process_node import Stage


async def test_a_call_is_found_by_id_and_session_until_it_is_gone(one: Stage) -> None:
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


async def test_files_are_closed_once(one: Stage) -> None:
    call = one.invite()
    before = one.descriptors()
    call.files.close()
    call.files.close()
    assert (
        one.descriptors() == before - 2
    )  # control and media part; the file of the runtime directory stays its checkpoint's


async def test_calls_may_go_while_they_are_looked_through(one: Stage) -> None:
    one.invite("c1")
    one.invite("c2")
    for call in one.live:
        one.forget(call)
    assert len(one.live) == 0
