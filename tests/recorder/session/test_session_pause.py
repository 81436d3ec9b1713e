"""A pause and its end as commands."""

from __future__ import annotations

import json

from recorder.calls.stream_specs import new_call
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.session import Recording
from recorder.workers.messages import Part
from sip.sdp.answer import Policy
from tests.in_process.offers import now, offered, random, sdp

ID = "11111111-2222-4333-8444-555555555555"
PART = Part("m1", b"")


def begun(*, reoffers: bool = False) -> Recording:
    one = Recording(ID, Policy(srtp="preferred", reoffers=reoffers), random)
    one.handle(offered(1, sdp("sendonly")), now())
    one.handle(e.Opened({0: 20000}), now())
    return one


def kinds(commands: list[c.Command]) -> list[type]:
    return [type(each) for each in commands]


def test_media_stop_first_and_the_recording_says_when() -> None:
    one = begun()
    media, event, index = one.handle(e.PauseAsked(), now(2))
    assert (media, index) == (c.PauseMedia(), c.Index())
    assert isinstance(event, c.Keep)
    assert json.loads(event.body) == {"at": "2026-03-01T12:00:02.000Z", "kind": "pause"}
    assert kinds(one.handle(e.ResumeAsked(), now(4))) == [c.ResumeMedia, c.Keep, c.Index]
    assert one.call_document(now(5))["streams"][0]["pauses"] == [
        ["2026-03-01T12:00:02.000Z", "2026-03-01T12:00:04.000Z"]
    ]


def test_a_stream_that_begins_in_a_pause_is_paused() -> None:
    """It may be the only one: a payload type that changes its codec ends the stream before."""
    one, again = begun(), sdp("sendonly", version=2).replace(b"SAVP 8", b"SAVP 8\r\na=rtpmap:8 opus/48000")
    one.handle(e.PauseAsked(), now(2))
    one.handle(offered(2, again, cseq=2), now(3))
    one.handle(e.Opened({1: 20002}), now(3))
    assert [s.removed for s in one.streams] == [True, False]
    assert new_call(one, PART, (), bytes(32)).pauses == ((int(now(2).wall.timestamp()) * 1_000_000_000, None),)
    one.handle(e.ResumeAsked(), now(4))
    assert one.call_document(now(5))["streams"][1]["pauses"] == [
        ["2026-03-01T12:00:02.000Z", "2026-03-01T12:00:04.000Z"]
    ]
    assert one.streams[1].expected == now(4).wall


def test_pausing_twice_changes_nothing() -> None:
    one = begun()
    assert one.handle(e.ResumeAsked(), now(1)) == []
    one.handle(e.PauseAsked(), now(2))
    assert one.handle(e.PauseAsked(), now(3)) == []


def test_there_is_nothing_to_pause_before_the_answer() -> None:
    fresh = Recording(ID, Policy(srtp="preferred"), random)
    ended = begun()
    ended.handle(e.Lost("gone"), now(1))
    assert [one.handle(e.PauseAsked(), now(2)) for one in (fresh, ended)] == [[], []]
    assert not fresh.paused
    assert not ended.paused


def test_a_client_that_takes_offers_learns_of_a_pause_f6() -> None:
    one = begun(reoffers=True)
    told = one.handle(e.PauseAsked(), now(1))[1]
    assert isinstance(told, c.Reoffer)
    assert told.paused
    assert b"a=inactive" in told.sdp


def test_a_client_whose_answer_is_still_to_come_is_not_f6() -> None:
    one = begun(reoffers=True)
    one.offers_first = True
    assert kinds(one.handle(e.PauseAsked(), now(1))) == [c.PauseMedia, c.Keep, c.Index]
