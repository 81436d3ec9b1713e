"""The call's document, as far as it ties recordings together (duty F8)."""

from __future__ import annotations

from datetime import datetime, timedelta

from recorder.session import events as e
from recorder.session.session import Recording
from sip.sdp.answer import Policy
from tests.in_process.offers import metadata, now, offered, random, sdp


def test_a_recording_names_its_call_and_every_name_it_shares_f8() -> None:
    one = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="preferred"), random)
    one.handle(offered(1, sdp("sendonly"), metadata("Alice")), now())
    one.handle(e.Opened({0: 20000}), now())
    told = one.call_document(now(2.5))
    assert told["call_group"] == {"key": "session:" + "73657373696f6e2d312d2d2d2d2d2d2d", "sure": "stated"}
    assert told["related"] == [told["call_group"]]
    assert told["duration_ms"] == 2500


WEEK = timedelta(days=7)


def kept_from(began: e.Now, end: e.Now) -> datetime | None:
    one = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="preferred"), random)
    one.handle(offered(1, sdp("sendonly")), began)
    one.handle(e.Opened({0: 20000}), began)
    found = one.call_document(end).get("kept_from")
    return datetime.fromisoformat(found) if found else None


def test_a_set_back_clock_does_not_hide_when_a_call_ended() -> None:
    began, end = now(), now(60)
    assert kept_from(began, end) is None
    assert kept_from(began, end._replace(wall=end.wall - timedelta(seconds=59))) is None, "time servers correct clocks"
    assert kept_from(began, end._replace(wall=end.wall - WEEK)) == end.wall, "while it ran"
    both = [moment._replace(wall=moment.wall - WEEK, behind=WEEK) for moment in (began, end)]
    assert kept_from(*both) == end.wall, "before it began"
    assert kept_from(both[0], end) is None, "and then it was set right"


def test_without_a_name_of_the_client_there_is_no_group() -> None:
    one = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="preferred"), random)
    one.handle(offered(1, sdp("sendonly")), now())
    told = one.call_document(now())
    assert (told["call_group"], told["related"]) == (None, [])
