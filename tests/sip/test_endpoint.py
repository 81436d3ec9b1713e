"""Whole calls in memory: bytes, then events, then bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.message.header_values import Flow
from sip.ua.events import Acknowledged, Cancelled, Closed, Dropped, Ending, Expired, HungUp, Invited, Refused, Withdrawn
from tests.sip.memory_client import ANSWER, METADATA, OFFER, Story, methods, statuses, tag_of

TCP = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40001), 1)
TCP2 = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40002), 2)


def test_a_call_from_invite_to_bye():
    """Duties F1, R3, R30."""
    story = Story()
    event = story.invited()
    assert (event.offer, event.metadata) == (OFFER, METADATA)
    assert story.endpoint.accept(event.token, ANSWER, story.now)
    (answer,) = story.hear()
    assert (answer.status, answer.body, answer.headers.get("Content-Type")) == (200, ANSWER, "application/sdp")
    assert answer.headers.get("Contact") == "<sip:192.0.2.10:5060;transport=udp>;+sip.srs"
    assert answer.headers.tokens("Supported") == ["siprec", "timer", "replaces"]
    story.learn(answer)
    assert story.say(story.request("ACK")) == []
    assert story.events() == [Acknowledged(event.session, None)]
    assert story.say(story.request("BYE")) == []
    (hung,) = story.events()
    assert isinstance(hung, HungUp)
    assert story.endpoint.confirm(hung.token, story.now)
    assert statuses(story.hear()) == [200]
    assert story.events() == [Closed(event.session)]
    assert story.wait(60) == []
    assert story.endpoint.next_timer() is None


def test_the_tag_cannot_be_guessed_and_differs():
    """Duty S6."""
    tags = set()
    for n in range(3):
        story = Story()
        for _ in range(n):
            story.endpoint._context.random(1)
        event = story.invited()
        story.endpoint.accept(event.token, ANSWER, story.now)
        tags.add(tag_of(story.hear()[0]))
    assert len(tags) == 3
    assert all(len(tag) >= 16 for tag in tags)


def test_record_route_and_all_vias_come_back_in_order():
    """Duty S6."""
    story = Story()
    vias = "Via: SIP/2.0/TCP b.example;branch=z9hG4bKb, SIP/2.0/UDP c.example"
    event = story.invited(vias, "Record-Route: <sip:p1;lr>,<sip:p2;lr>")
    story.endpoint.accept(event.token, ANSWER, story.now)
    (answer,) = story.hear()
    assert [via.split()[1].split(";")[0] for via in answer.headers.values("Via")] == [
        "192.0.2.1:5070",
        "b.example",
        "c.example",
    ]
    assert answer.headers.values("Record-Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]


def test_a_slow_answer_is_preceded_by_100():
    """Duty S1."""
    story = Story()
    event = story.invited("Timestamp: 54.21")
    (trying,) = story.wait(0.3)
    assert (trying.status, trying.headers.get("Timestamp")) == (100, "54.21 0.2")
    story.endpoint.accept(event.token, ANSWER, story.now)
    assert statuses(story.hear()) == [200]


def test_a_fast_answer_is_not():
    story = Story()
    story.established()
    assert story.wait(1) == []


def test_a_retransmitted_invite_gets_the_same_200():
    story = Story()
    invite = story.invite()
    for _ in range(5):
        assert story.say(invite) == []
    (event,) = story.events()
    story.endpoint.accept(event.token, ANSWER, story.now)
    first = story.hear()
    for _ in range(3):
        assert story.say(invite) == first
    assert story.events() == []


@pytest.mark.parametrize("flow", [Flow("udp", TCP.local, TCP.remote), TCP])
def test_the_200_is_repeated_on_every_transport_until_the_ack(flow):
    """Duty S2."""
    story = Story(flow)
    event = story.invited()
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    assert len(story.wait(8)) == 4  # after 0.5, 1.5, 3.5 and 7.5 s
    story.say(story.request("ACK"))
    assert story.wait(20) == []


def test_never_acknowledged_means_bye_after_32_seconds():
    """Duty S2."""
    story = Story()
    event = story.invited()
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.events()
    story.wait(31.9)
    heard = story.wait(0.2)
    assert methods(heard) == ["BYE"]
    assert story.events() == [Expired(event.session, Ending.NO_ACK)]
    story.say(story.reply(heard[0], 200))
    assert story.events() == [Closed(event.session)]


def test_a_repeated_bye_gets_the_stored_answer():
    """Duty S3."""
    story = Story()
    story.established()
    bye = story.request("BYE")
    story.say(bye)
    assert story.say(bye) == []
    story.endpoint.confirm(story.events()[0].token, story.now)
    first = story.hear()
    story.wait(30)
    assert story.say(bye) == first
    story.wait(5)
    assert statuses(story.say(bye)) == [481]


def test_a_bye_the_user_forgets_is_answered_all_the_same():
    """Duty S35."""
    story = Story()
    event = story.established()
    story.say(story.request("BYE"))
    (hung,) = story.events()
    assert statuses(story.wait(5.1)) == [200]
    assert story.events() == [Dropped(story.flow, "bye-unconfirmed"), Closed(event.session)]
    assert not story.endpoint.confirm(hung.token, story.now)


def test_a_bye_before_the_ack_ends_the_call():
    """Duty S12."""
    story = Story()
    event = story.invited()
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    story.say(story.request("BYE"))
    (hung,) = story.events()
    story.endpoint.confirm(hung.token, story.now)
    assert statuses(story.hear()) == [200]
    assert story.wait(40) == []


def test_a_merged_request_gets_482():
    """Duty S5."""
    story = Story()
    story.established()
    copy = story.invite(cseq=1, to="<sip:rec@192.0.2.10>")
    assert statuses(story.say(copy)) == [482]
    assert [type(e) for e in story.events()] == [Refused]


def test_a_refused_invite_is_repeated_on_udp_until_its_ack():
    story = Story()
    event = story.invited(branch="z9hG4bKr")
    story.endpoint.refuse(event.token, 488, story.now, warning=(304, 'Media "type"'))
    (answer,) = story.hear()
    assert answer.headers.get("Warning") == "304 recorder \"Media 'type'\""
    assert statuses(story.wait(4)) == [488, 488, 488]
    story.learn(answer)
    story.say(story.request("ACK", branch="z9hG4bKr"))
    assert story.wait(60) == []
    assert story.events() == [Closed(event.session)]


def test_a_retry_after_a_refusal_is_a_new_call():
    """Duty F7."""
    story = Story()
    event = story.invited()
    story.endpoint.refuse(event.token, 503, story.now, retry_after=7)
    assert story.hear()[0].headers.get("Retry-After") == "7"
    story.events()
    assert isinstance(story.invited(cseq=1), Invited)


def test_cancel_ends_an_unanswered_invite():
    """Duty S11."""
    story = Story()
    event = story.invited(branch="z9hG4bKc")
    assert statuses(story.say(story.request("CANCEL", branch="z9hG4bKc"))) == [200, 487]
    assert story.events() == [Cancelled(event.session), Closed(event.session)]
    assert not story.endpoint.accept(event.token, ANSWER, story.now)
    assert story.hear() == []


def test_cancel_after_the_200_changes_nothing():
    """Duty S11."""
    story = Story()
    story.established(branch="z9hG4bKc")
    assert statuses(story.say(story.request("CANCEL", branch="z9hG4bKc"))) == [200]
    assert story.events() == []
    assert statuses(story.say(story.request("CANCEL"))) == [481]


def test_a_cancelled_reinvite_leaves_the_session_running():
    story = Story()
    event = story.established()
    story.say(story.invite(branch="z9hG4bKd"))
    (offer,) = story.events()
    assert statuses(story.say(story.request("CANCEL", branch="z9hG4bKd"))) == [200, 487]
    assert story.events() == [Withdrawn(event.session, offer.token)]
    story.say(story.request("BYE"))
    assert isinstance(story.events()[0], HungUp)


@given(st.binary(max_size=400))
def test_any_bytes_end_in_an_answer_or_silence(data):
    for flow in (Flow("udp", TCP.local, TCP.remote), TCP):
        story = Story(flow)
        story.say(data)
        assert Dropped(flow, "internal") not in story.events()


JUNK = [b"", b"\0", b"\r\n", b";", b"<", b'"', b",", b"\xff", b"SIP/2.0"]


@given(st.integers(0, 10_000), st.sampled_from(JUNK), st.booleans())
def test_a_damaged_invite_ends_in_an_answer_or_silence(at, junk, cut):
    story = Story()
    data = story.invite("Record-Route: <sip:p;lr>", "Supported: timer", "Session-Expires: 1800;refresher=uac")
    at %= len(data)
    story.say(data[:at] + junk + (b"" if cut else data[at + 1 :]))
    for event in story.events():
        assert event != Dropped(story.flow, "internal")
        if isinstance(event, Invited):
            story.endpoint.accept(event.token, ANSWER, story.now)
            assert story.hear()


BESIDE = Path(__file__).parents[3] / "shared"
NEIGHBOURS = [path for name in ("torture", "corpus") for path in sorted((BESIDE / name).glob("*.sip"))]


@pytest.mark.skipif(not NEIGHBOURS, reason="no folder of messages beside the checkout")
def test_messages_beside_the_checkout_break_nothing():
    for path in NEIGHBOURS:
        for flow in (Flow("udp", TCP.local, TCP.remote), TCP):
            story = Story(flow)
            story.say(path.read_bytes())
            assert Dropped(flow, "internal") not in story.events(), path.name
