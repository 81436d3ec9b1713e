"""Sessions that outlive their process."""

import pytest

from sip.message.header_values import Flow
from sip.ua.events import Acknowledged, Closed, HungUp, Reanswered, Reoffered
from tests.sip.memory_client import (
    ANSWER,
    LATE,
    OFFER,
    SDP,
    TCP,
    TCP2,
    UDP,
    Story,
    established,
    methods,
    revived,
    statuses,
)

RESUMED = ANSWER + b"a=recvonly\r\n"
REFRESHED_BY_US = ("Supported: timer", "Session-Expires: 1800;refresher=uas", "Allow: UPDATE")


@pytest.mark.parametrize("flow", [None, TCP2])
def test_a_restart_keeps_the_dialog_on_any_connection(flow):
    after = revived(established("Supported: timer", "Session-Expires: 1800"), flow=flow)
    assert statuses(after.say(after.request("UPDATE"))) == [200]
    after.events()
    after.say(after.invite())
    assert isinstance(after.events()[0], Reoffered)
    after.say(after.request("BYE"))
    assert isinstance(after.events()[-1], HungUp)


def test_a_restart_in_a_pause_keeps_it_f6():
    story = established()
    (invite,) = story.reoffer(ANSWER + b"a=inactive\r\n", paused=True)
    story.say(story.reply(invite, 200, body=ANSWER))
    after = revived(story)
    (answer,) = after.say(after.request("INVITE", "Require: siprec"))
    assert answer.body == ANSWER + b"a=inactive\r\n"


def test_an_unanswered_offer_is_repeated_after_a_restart():
    """Duty F6."""
    story = established()
    (lost,) = story.reoffer(RESUMED)
    after = revived(story)
    assert after.wait(3.9) == []
    (again,) = after.wait(0.2)
    assert (again.method, again.body, again.cseq.number) == ("INVITE", RESUMED, lost.cseq.number + 1)
    assert methods(after.say(after.reply(again, 200, body=OFFER))) == ["ACK"]
    (answered,) = after.events()
    assert (type(answered), answered.sdp) == (Reanswered, OFFER)
    assert after.endpoint.export(after.session)["wanted"] == ""
    assert methods(after.wait(60)) == []


@pytest.mark.parametrize("flow", [None, TCP2])
def test_a_200_to_an_earlier_processs_offer_is_acknowledged(flow):
    story = established()
    (lost,) = story.reoffer(RESUMED)
    after = revived(story, flow=flow)
    accepted = after.reply(lost, 200, body=OFFER)
    for _ in range(2):
        (ack,) = after.say(accepted)
        assert (ack.method, ack.cseq.number, ack.uri) == ("ACK", lost.cseq.number, lost.uri)
    assert after.say(accepted.replace(b"tag=client", b"tag=other")) == after.say(after.reply(lost, 488)) == []
    assert [one.reason for one in after.events()] == ["response-unknown"] * 2


def test_a_retransmitted_invite_gets_its_200_after_a_restart():
    story = Story()
    invite = story.invite()
    story.say(invite)
    (event,) = story.events()
    story.session = event.session
    first = story.answer(event)
    after = revived(story)
    assert after.say(invite) == [first]
    assert statuses(after.wait(2)) == [200, 200]
    after.say(after.request("ACK"))
    assert after.events() == [Acknowledged(event.session, None)]
    assert statuses(after.say(after.invite(cseq=1, to="<sip:rec@192.0.2.10>"))) == [482]


@pytest.mark.parametrize(
    ("flow", "late", "news"), [(TCP, False, False), (TCP, True, True), (UDP, False, True), (UDP, True, True)]
)
def test_an_ack_is_saved_if_a_successor_needs_it(flow: Flow, late: bool, news: bool):
    def taken_up(state):
        after = revived(story, state)
        return after.endpoint.export(after.session)

    story = Story(flow)
    story.answered(**(LATE if late else {}))
    before = story.endpoint.export(story.session)
    story.say(story.request("ACK", **(SDP if late else {})))
    (told,) = story.events()
    after = story.endpoint.export(story.session)
    assert before != after
    assert told.news is (taken_up(before) != taken_up(after)) is news


def test_an_ack_on_another_connection_is_news():
    story = Story(TCP)
    story.answered()
    story.connect(TCP2)
    story.say(story.request("ACK"))
    assert story.events() == [Acknowledged(story.session, None, news=True)]


def test_after_a_restart_the_session_timer_goes_on():
    story = established("Supported: timer", "Session-Expires: 1800")
    state = story.endpoint.export(story.session, now=story.now, wall=5_000_000.0)
    after = Story()
    after.now = 50.0
    after.endpoint.restore(state, after.now, 5_000_100.0)
    assert after.wait(1660) == []
    assert set(methods(after.wait(10))) == {"BYE"}


@pytest.mark.parametrize("since", [10, 880, 895])
def test_a_refresh_is_due_at_the_same_time_after_a_restart_s27(since):
    story = established(*REFRESHED_BY_US)
    story.wait(since)
    after = revived(story)
    (update,) = after.wait(story.now + 900 - since - after.now)  # half the interval
    after.say(after.reply(update, 200, "Session-Expires: 1800;refresher=uac"))
    assert methods(after.wait(899)) == []
    assert methods(after.wait(1)) == ["UPDATE"]


@pytest.mark.parametrize("state", [{}, {"version": 2}, {"version": 1, "key": 5}])
def test_strange_states_are_refused(state):
    with pytest.raises(ValueError):
        Story().endpoint.restore(state, 0.0)


def test_an_unanswered_bye_is_raised_again_after_a_restart():
    """Duty S12."""
    story = established()
    bye = story.request("BYE")
    story.say(bye)
    after = revived(story)
    assert after.say(bye) == []
    (hung,) = after.events()
    assert isinstance(hung, HungUp)
    assert after.endpoint.confirm(hung.token, after.now)
    assert statuses(after.hear()) == [200]
    assert after.events() == [Closed(after.session)]


def test_a_session_ending_at_a_restart_is_forgotten():
    story = established()
    story.say(story.request("BYE"))
    after = revived(story)
    assert statuses(after.say(after.request("UPDATE"))) == [481]
    after.wait(40)
    assert after.events()[-1] == Closed(after.session)
    assert after.endpoint.sessions() == []
    with pytest.raises(KeyError):
        after.endpoint.export(after.session)


def test_a_200_that_no_connection_can_repeat_ends_no_call():
    story = Story(TCP)
    story.answered(branch="z9hG4bK-i")
    after = revived(story, flow=TCP2)
    assert statuses(after.say(after.request("UPDATE"))) == [200]
    after.events()
    assert after.wait(60) == after.events() == []
    after.say(after.request("BYE"))
    assert isinstance(after.events()[-1], HungUp)
    again = revived(story, flow=TCP2)
    assert statuses(again.say(story.invite(branch="z9hG4bK-i", cseq=1, to="<sip:rec@192.0.2.10>"))) == [200]
