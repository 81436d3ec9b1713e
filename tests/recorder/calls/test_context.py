"""What the parts of the daemon share: the live calls, the clocks, and trouble that is reported once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from recorder.calls import context
from sip.ua.events import SessionKey
from tests.in_process.recorder_node import Stage


async def test_a_call_is_found_by_id_and_session_until_it_is_gone(one: Stage) -> None:
    call, other = one.invite("c1"), one.invite("c2")
    assert (one.live.by_id(call.id), one.live.by_session(call.session)) == (call, call)
    assert one.live.of_source("127.0.0.1") == one.live.of_customer("acme") == 2
    assert one.live.by_session(SessionKey("other")) is None
    before = one.descriptors()
    for _ in range(2):
        other.files.close()
    # Control and media part; its checkpoint keeps the file in runtime_dir. A thread may be syncing a folder still.
    await one.until(lambda: one.descriptors() <= before - 2)
    for each in one.live:  # calls may go while they are looked through
        one.forget(each)
    one.live.remove(call)
    assert (one.live.by_id(call.id), one.live.by_session(call.session), len(one.live)) == (None, None, 0)
    assert one.live.of_source("127.0.0.1") == one.live.of_customer("acme") == 0


async def test_trouble_stops_calls_and_refused_calls_are_incidents(one: Stage) -> None:
    told: list[int] = []
    one.load_changed = lambda: told.append(1)
    one.resources.storage.trouble(OSError(28, "full"))
    assert (one.resources.storage.well, told) == (False, [1])
    assert b"recorder_storage_state 0.0" in one.node.metrics.page()
    one.rejections.report("INVITE", 403, "no-customer", None, None, 0.0)
    one.rejections.report("UPDATE", 488, "sdp", "acme", None, 0.0)
    assert [i["reason"] for i in one.node.incidents.of("acme")] == ["no-customer"]


async def test_a_clock_that_was_set_back_is_known_to_be_behind(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = one.node.monotonic(), one.node.now()
    assert before <= now.mono <= one.node.monotonic() and now.wall.tzinfo is not None
    wall, mono = context._BEGAN
    for days, behind in ((0, 0), (7, 7), (-7, 0)):
        monkeypatch.setattr(context, "_BEGAN", (wall + timedelta(days=days), mono))
        assert abs(one.node.now().behind - timedelta(days=behind)) < timedelta(hours=1)
