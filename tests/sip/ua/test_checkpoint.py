"""Sessions that outlive their process."""

from __future__ import annotations

import json

import pytest

from sip.message.header_values import Flow
from sip.ua.events import Acknowledged, Closed, HungUp, Reanswered, Reoffered
from tests.sip.memory_client import ANSWER, OFFER, UDP, Story, methods, statuses

TCP = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40001), 1)
TCP2 = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40002), 2)


def revived(story, state, flow=None):
    after = Story(flow or story.flow)
    after.now = story.now + 3
    assert after.endpoint.restore(json.loads(json.dumps(state)), after.now) == state["key"]
    for name in ("cseq", "call_id", "to", "sender", "branches"):
        setattr(after, name, getattr(story, name))
    after.events()
    return after


def test_a_restart_keeps_the_dialog_on_any_connection():
    for flow in (None, TCP2):
        story = Story()
        event = story.established("Supported: timer", "Session-Expires: 1800")
        after = revived(story, story.endpoint.export(event.session), flow)
        assert statuses(after.say(after.request("UPDATE"))) == [200]
        after.events()
        after.say(after.invite())
        assert isinstance(after.events()[0], Reoffered)
        after.say(after.request("BYE"))
        assert isinstance(after.events()[-1], HungUp)


def test_a_restart_in_a_pause_keeps_it_f6():
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER + b"a=inactive\r\n", story.now, paused=True)
    story.say(story.reply(story.hear()[0], 200, body=ANSWER))
    after = revived(story, story.endpoint.export(event.session))
    (answer,) = after.say(after.request("INVITE", "Require: siprec"))
    assert answer.body == ANSWER + b"a=inactive\r\n"


RESUMED = ANSWER + b"a=recvonly\r\n"


def test_an_unanswered_offer_is_repeated_after_a_restart():
    """Duty F6."""
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, RESUMED, story.now)
    (lost,) = story.hear()
    after = revived(story, story.endpoint.export(event.session))
    assert after.wait(3.9) == []
    (again,) = after.wait(0.2)
    assert (again.method, again.body, again.cseq.number) == ("INVITE", RESUMED, lost.cseq.number + 1)
    assert methods(after.say(after.reply(again, 200, body=OFFER))) == ["ACK"]
    (answered,) = after.events()
    assert (type(answered), answered.sdp) == (Reanswered, OFFER)
    assert after.endpoint.export(event.session)["wanted"] == ""
    assert methods(after.wait(60)) == []


@pytest.mark.parametrize("flow", [None, TCP2])
def test_a_200_to_an_earlier_processs_offer_is_acknowledged(flow):
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, RESUMED, story.now)
    (lost,) = story.hear()
    after = revived(story, story.endpoint.export(event.session), flow)
    for _ in range(2):
        (ack,) = after.say(after.reply(lost, 200, body=OFFER))
        assert (ack.method, ack.cseq.number, ack.uri) == ("ACK", lost.cseq.number, lost.uri)
    foreign = after.reply(lost, 200, body=OFFER).replace(b"tag=client", b"tag=other")
    assert after.say(foreign) == []
    assert after.say(after.reply(lost, 488)) == []
    assert [one.reason for one in after.events()] == ["response-unknown"] * 2


def test_a_retransmitted_invite_gets_its_200_after_a_restart():
    story = Story()
    invite = story.invite()
    story.say(invite)
    (event,) = story.events()
    story.endpoint.accept(event.token, ANSWER, story.now)
    (first,) = story.hear()
    after = revived(story, story.endpoint.export(event.session))
    assert after.say(invite) == [first]
    assert [m.status for m in after.wait(2)] == [200, 200]
    after.learn(first)
    after.say(after.request("ACK"))
    assert after.events() == [Acknowledged(event.session, None)]
    assert statuses(after.say(after.invite(cseq=1, to="<sip:rec@192.0.2.10>"))) == [482]


def acknowledged(flow, *, late=False):
    """Export a session before its ACK and after; return both, the story, and what was told of the ACK."""
    story = Story(flow)
    event = story.invited(**({"body": b"", "kind": ""} if late else {}))
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    before = story.endpoint.export(event.session)
    story.say(story.request("ACK", **({"body": OFFER, "kind": "application/sdp"} if late else {})))
    (told,) = story.events()
    return before, story.endpoint.export(event.session), story, told


def taken_up(story, state):
    """Export a session again that a successor took up."""
    return revived(story, state).endpoint.export(state["key"])


def test_an_ack_on_the_invites_connection_is_not_saved():
    before, after, story, told = acknowledged(TCP)
    assert before != after
    assert taken_up(story, before) == taken_up(story, after)
    assert told.news is False


def test_an_ack_that_changes_the_state_is_saved():
    for flow, late in ((UDP, False), (UDP, True), (TCP, True)):
        before, after, story, told = acknowledged(flow, late=late)
        assert taken_up(story, before) != taken_up(story, after)
        assert told.news is True


def test_an_ack_on_another_connection_is_news():
    story = Story(TCP)
    event = story.invited()
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    story.endpoint.connection_made(TCP2, story.now)
    story.say(story.request("ACK"), TCP2)
    assert story.events() == [Acknowledged(event.session, None, news=True)]


def test_after_a_restart_the_session_timer_goes_on():
    story = Story()
    event = story.established("Supported: timer", "Session-Expires: 1800")
    state = story.endpoint.export(event.session, now=story.now, wall=5_000_000.0)
    after = Story()
    after.now = 50.0
    after.endpoint.restore(state, after.now, 5_000_100.0)
    assert after.wait(1660) == []
    assert set(methods(after.wait(10))) == {"BYE"}


@pytest.mark.parametrize("since", [10, 880, 895])
def test_a_refresh_is_due_at_the_same_time_after_a_restart_s27(since):
    story = Story()
    event = story.established("Supported: timer", "Session-Expires: 1800;refresher=uas", "Allow: UPDATE")
    story.wait(since)
    after = revived(story, story.endpoint.export(event.session))
    asked = after.wait(story.now + 900 - since - after.now)  # half the interval
    assert methods(asked) == ["UPDATE"]
    after.say(after.reply(asked[0], 200))
    assert methods(after.wait(899)) == []
    assert methods(after.wait(1)) == ["UPDATE"]


def test_a_refresh_missed_in_a_restart_is_sent_at_once():
    story = Story()
    event = story.established("Supported: timer", "Session-Expires: 1800;refresher=uas", "Allow: UPDATE")
    state = story.endpoint.export(event.session)
    story.now += 1000
    after = revived(story, state)
    assert methods(after.wait(0)) == ["UPDATE"]


def test_strange_states_are_refused():
    for state in ({}, {"version": 2}, {"version": 1, "key": 5}):
        with pytest.raises(ValueError):
            Story().endpoint.restore(state, 0.0)
    with pytest.raises(KeyError):
        Story().endpoint.export("nobody")


def test_an_unanswered_bye_is_raised_again_after_a_restart():
    """Duty S12."""
    story = Story()
    event = story.established()
    bye = story.request("BYE")
    story.say(bye)
    story.events()
    after = revived(story, story.endpoint.export(event.session))
    assert after.say(bye) == []
    (hung,) = after.events()
    assert isinstance(hung, HungUp)
    assert after.endpoint.confirm(hung.token, after.now)
    assert statuses(after.hear()) == [200]
    assert after.events() == [Closed(event.session)]


def test_a_session_ending_at_a_restart_is_forgotten():
    story = Story()
    event = story.established()
    story.say(story.request("BYE"))
    story.events()
    after = revived(story, story.endpoint.export(event.session))
    assert statuses(after.say(after.request("UPDATE"))) == [481]
    after.wait(40)
    assert after.events()[-1] == Closed(event.session)
    assert after.endpoint.sessions() == []


def test_a_200_that_no_connection_can_repeat_ends_no_call():
    story = Story(TCP)
    invite = story.invite()
    story.say(invite)
    (event,) = story.events()
    story.endpoint.accept(event.token, ANSWER, story.now)
    (first,) = story.hear()
    story.learn(first)
    after = revived(story, story.endpoint.export(event.session), TCP2)
    assert statuses(after.say(after.request("UPDATE"))) == [200]
    after.events()
    assert after.wait(60) == []
    assert after.events() == []
    after.say(after.request("BYE"))
    assert isinstance(after.events()[-1], HungUp)
    again = revived(story, story.endpoint.export(event.session), TCP2)
    assert again.say(invite) == [first]
