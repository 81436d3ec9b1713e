"""One stream over all re-offers: its key, holds, formats, and a way back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from recorder.stream import Stream, answer, own_key, plans_of
from sip.negotiate import LinePlan, Policy, plan
from sip.owners import Owner
from sip.sdp import SessionDescription
from tests.recorder.offers import random, sdp

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def line(direction: str = "sendonly") -> LinePlan:
    return plan(SessionDescription.parse(sdp(direction)), Policy(srtp="preferred"))[0]


def stream() -> Stream:
    return Stream(0, line(), own_key(line(), random))


def at(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_our_key_is_ours_and_changes_with_the_suite_only() -> None:
    one = stream()
    assert len(one.own_key) == 30
    assert one.line.crypto
    assert one.own_key != one.line.crypto.key
    before = one.own_key
    one.renew(line("inactive"), lambda size: bytes(size))
    assert one.own_key == before
    one.renew(replace(line(), suite=None), random)
    assert one.own_key == b""


def test_overlapping_holds_and_pauses_are_one_interval() -> None:
    one = stream()
    one.hold(True, at(1))
    one.pause(True, at(2))
    one.hold(False, at(3))
    assert one.pauses == [(at(1), None)]
    one.pause(False, at(4))
    one.hold(True, at(5))
    one.close(at(6))
    assert one.pauses == [(at(1), at(4)), (at(5), at(6))]


def test_a_copy_does_not_change_with_the_original() -> None:
    one = stream()
    one.port = 20000
    before = one.copy()
    one.hold(True, at(1))
    one.remove(at(2))
    one.formats.clear()
    assert before.to_state() == {**stream().to_state(), "port": 20000}
    assert before.formats


def test_a_checkpoint_brings_it_back() -> None:
    one = stream()
    one.hold(True, at(1))
    one.figures = {"packets": 7}
    again = Stream.from_state(json.loads(json.dumps(one.to_state())))
    assert again.to_state() == one.to_state()
    assert again.document(Owner()) == one.document(Owner())


def test_only_what_goes_on_is_planned_and_answered() -> None:
    gone, live = stream(), stream()
    gone.remove(at(1))
    live.port = 20002
    assert [p.number for p in plans_of([gone, live])] == [0]
    body = answer(SessionDescription.parse(sdp("sendonly")), [line()], [live], "198.51.100.7", 5, 1).decode()
    assert "o=- 5 1 IN IP4 198.51.100.7" in body
    assert "m=audio 20002" in body
