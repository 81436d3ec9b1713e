"""Requests of ours: BYE, re-INVITE, refresh."""

from __future__ import annotations

import pytest

from sip.events import (
    Closed,
    Ending,
    Expired,
    Reanswered,
)
from sip.values import Flow
from tests.sip.story import ANSWER, OFFER, Story, methods, statuses

TCP = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40001), 1)
TCP2 = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40002), 2)


def test_we_hang_up_and_any_answer_closes():
    for status in (200, 405, 481):
        story = Story()
        event = story.established()
        story.endpoint.hang_up(event.session, "erasure", story.now)
        (bye,) = story.hear()
        assert (bye.method, bye.uri) == ("BYE", "sip:sbc@192.0.2.1:5070")
        assert bye.headers.get("Reason") == 'SIP;cause=200;text="erasure"'
        story.say(story.reply(bye, status))
        assert story.events() == [Closed(event.session)]


def test_our_bye_without_an_answer_is_repeated_and_given_up():
    story = Story()
    event = story.established()
    story.endpoint.hang_up(event.session, "", story.now)
    heard = story.hear() + story.wait(33)
    assert set(methods(heard)) == {"BYE"}
    assert len(heard) == 11
    assert story.events() == [Closed(event.session)]


def test_hanging_up_waits_for_the_ack():
    story = Story()
    event = story.invited()
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    story.endpoint.hang_up(event.session, "", story.now)
    assert story.hear() == []
    assert methods(story.say(story.request("ACK"))) == ["BYE"]


def test_crossing_byes_are_both_answered():
    story = Story()
    event = story.established()
    story.endpoint.hang_up(event.session, "", story.now)
    story.hear()
    assert statuses(story.say(story.request("BYE"))) == [200]
    assert story.events()[-1] == Closed(event.session)


def test_our_reinvite_is_acknowledged_and_reported():
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (invite,) = story.hear()
    assert (invite.method, invite.body) == ("INVITE", ANSWER)
    assert "+sip.srs" in invite.headers.get("Contact")
    assert statuses(story.say(story.invite())) == [491]
    story.events()
    accepted = story.reply(invite, 200, "Contact: <sip:new@192.0.2.1:5070>", body=OFFER)
    assert methods(story.say(accepted)) == ["ACK"]
    assert story.events() == [Reanswered(event.session, 200, OFFER, None)]
    assert methods(story.say(accepted)) == ["ACK"]
    assert story.events() == []


def test_our_reinvite_backs_off_after_491():
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (invite,) = story.hear()
    assert methods(story.say(story.reply(invite, 491))) == ["ACK"]
    again = story.wait(2.0)
    assert set(methods(again)) == {"INVITE"}
    assert again[0].cseq.number == invite.cseq.number + 1
    assert story.events() == []


@pytest.mark.parametrize("status", [408, 481])
def test_a_peer_that_lost_the_dialog_ends_it(status):
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    story.say(story.reply(story.hear()[0], status))
    assert story.events() == [Expired(event.session, Ending.DIALOG_GONE), Closed(event.session)]




def test_a_session_that_is_not_refreshed_ends():
    story = Story()
    event = story.established("Supported: timer", "Session-Expires: 1800")
    assert story.wait(1767) == []
    assert set(methods(story.wait(2))) == {"BYE"}
    assert story.events()[0] == Expired(event.session, Ending.TIMER)


def test_a_refresh_by_update_or_reinvite_keeps_it_alive():
    story = Story()
    story.established("Supported: timer", "Session-Expires: 1800")
    story.wait(1500)
    (answer,) = story.say(story.request("UPDATE", "Supported: timer", "Session-Expires: 1800;refresher=uac"))
    assert answer.headers.get("Session-Expires") == "1800;refresher=uac"
    assert answer.headers.get("Require") == "timer"
    story.wait(1500)
    assert story.events()[-1].method == "UPDATE"


def test_we_refresh_where_the_client_wants_it():
    story = Story()
    story.established("Supported: timer", "Allow: INVITE, UPDATE", "Session-Expires: 600;refresher=uas")
    (update,) = story.wait(300)
    assert (update.method, update.headers.get("Session-Expires")) == ("UPDATE", "600;refresher=uac")
    (invite,) = story.say(story.reply(update, 405))
    assert (invite.method, invite.body) == ("INVITE", ANSWER)


def test_a_short_interval_is_422():
    story = Story()
    (answer,) = story.say(story.invite("Supported: timer", "Session-Expires: 60"))
    assert (answer.status, answer.headers.get("Min-SE")) == (422, "90")
