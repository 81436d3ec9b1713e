"""Whole calls in memory: bytes, then events, then bytes. `test_machine_dialog.py` tries them in any order."""

import pytest

from sip.message.header_values import Flow, NameAddr
from sip.ua.events import Acknowledged, Cancelled, Closed, Dropped, Ending, Expired, HungUp, Invited, Refused, Reoffered
from tests.sip.memory_client import ANSWER, METADATA, OFFER, TCP, Noise, Story, established, statuses

UDP = Flow("udp", TCP.local, TCP.remote)


def test_a_call_from_invite_to_bye():
    """Duties F1, R3, R30."""
    story = Story()
    event = story.invited()
    assert (event.offer, event.metadata) == (OFFER, METADATA)
    answer = story.answer(event)
    assert (answer.status, answer.body, answer.headers.get("Content-Type")) == (200, ANSWER, "application/sdp")
    assert answer.headers.get("Contact") == "<sip:192.0.2.10:5060;transport=udp>;+sip.srs"
    assert answer.headers.tokens("Supported") == ["siprec", "timer", "replaces"]
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


def test_nothing_is_kept_of_a_call_that_is_over():
    story = Story()
    story.established()
    (invite,) = story.reoffer()
    story.say(story.reply(invite, 488))
    story.say(story.invite(branch="z9hG4bK-c"))
    story.say(story.request("CANCEL", branch="z9hG4bK-c"))
    bye = story.request("BYE")
    story.say(bye)
    story.wait(60)
    asked = [event.token for event in story.events() if isinstance(event, (HungUp, Reoffered))]
    assert [story.endpoint.waits(token) for token in asked] == [False, False]
    assert (story.endpoint.sessions(), story.endpoint.next_timer()) == ([], None)
    assert statuses(story.say(bye)) == [481]
    assert story.say(story.reply(invite, 200)) == []


def test_the_tag_cannot_be_guessed_and_differs():
    """Duty S6."""
    noise = Noise()
    tags = [NameAddr.parse(Story(random=noise).answered().headers.get("To")).tag or "" for _ in range(3)]
    assert len(set(tags)) == 3 and all(len(tag) >= 16 for tag in tags)


def test_record_route_and_all_vias_come_back_in_order():
    """Duty S6."""
    vias = "Via: SIP/2.0/TCP b.example;branch=z9hG4bKb, SIP/2.0/UDP c.example"
    answer = Story().answered(vias, "Record-Route: <sip:p1;lr>,<sip:p2;lr>")
    hosts = [via.split()[1].split(";")[0] for via in answer.headers.values("Via")]
    assert hosts == ["192.0.2.1:5070", "b.example", "c.example"]
    assert answer.headers.values("Record-Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]


def test_a_slow_answer_is_preceded_by_100():
    """Duty S1."""
    story = Story()
    event = story.invited("Timestamp: 54.21")
    (trying,) = story.wait(0.3)
    assert (trying.status, trying.headers.get("Timestamp")) == (100, "54.21 0.2")
    assert story.answer(event).status == 200
    assert established().wait(1) == []  # a fast one is not


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_the_200_is_repeated_until_its_ack_and_then_comes_bye(flow):
    """Duty S2."""
    story = Story(flow)
    story.answered()
    assert len(story.wait(12)) == 5  # after 0.5, 1.5, 3.5, 7.5 and 11.5 s
    story.wait(19.9)
    (bye,) = story.wait(0.2)
    assert bye.method == "BYE"
    assert story.events() == [Expired(story.session, Ending.NO_ACK)]
    story.say(story.reply(bye, 200))
    assert story.events() == [Closed(story.session)]


def test_a_repeated_bye_gets_the_stored_answer():
    """Duty S3."""
    story = established()
    bye = story.request("BYE")
    for _ in range(2):
        assert story.say(bye) == []
    (hung,) = story.events()
    story.endpoint.confirm(hung.token, story.now)
    first = story.hear()
    story.wait(30)
    assert story.say(bye) == first
    story.wait(5)
    assert statuses(story.say(bye)) == [481]


def test_a_bye_the_user_forgets_is_answered_all_the_same():
    """Duty S35."""
    story = established()
    story.say(story.request("BYE"))
    (hung,) = story.events()
    assert statuses(story.wait(5.1)) == [200]
    assert story.events() == [Dropped(story.flow, "bye-unconfirmed"), Closed(story.session)]
    assert not story.endpoint.confirm(hung.token, story.now)


def test_a_merged_request_gets_482():
    """Duty S5."""
    story = established()
    assert statuses(story.say(story.invite(cseq=1, to="<sip:rec@192.0.2.10>"))) == [482]
    assert [type(e) for e in story.events()] == [Refused]


def test_a_refused_invite_is_repeated_on_udp_until_its_ack():
    """Duty F7: a retry is a new call."""
    story = Story()
    event = story.invited(branch="z9hG4bKr")
    warning, more = (304, 'Media "type"'), (("X-Why", "disk"),)
    story.endpoint.refuse(event.token, 503, story.now, retry_after=7, warning=warning, headers=more)
    (answer,) = story.hear()
    fields = [answer.headers.get(name) for name in ("Retry-After", "Warning", "X-Why")]
    assert fields == ["7", "304 recorder \"Media 'type'\"", "disk"]
    assert statuses(story.wait(4)) == [503, 503, 503]
    story.say(story.request("ACK", branch="z9hG4bKr", to=answer.headers.get("To")))
    assert story.wait(60) == []
    assert story.events() == [Closed(event.session)]
    assert isinstance(story.invited(cseq=1), Invited)


def test_cancel_ends_an_unanswered_invite_and_no_other():
    """Duty S11."""
    story = Story()
    event = story.invited(branch="z9hG4bKc")
    assert statuses(story.say(story.request("CANCEL", branch="z9hG4bKc"))) == [200, 487]
    assert story.events() == [Cancelled(event.session), Closed(event.session)]
    assert not story.endpoint.accept(event.token, ANSWER, story.now)
    story = established(branch="z9hG4bKc")
    assert statuses(story.say(story.request("CANCEL", branch="z9hG4bKc"))) == [200]
    assert story.events() == []
    assert statuses(story.say(story.request("CANCEL"))) == [481]
