"""What the user decides, in time and too late."""

from __future__ import annotations

from sip.ua.events import Closed, Invited, Token
from tests.sip.story import ANSWER, Story, statuses


def test_a_token_is_good_once():
    story = Story()
    event = story.invited()
    assert story.endpoint.accept(event.token, ANSWER, story.now)
    story.hear()
    assert not story.endpoint.accept(event.token, ANSWER, story.now)
    assert not story.endpoint.refuse(event.token, 488, story.now)
    assert story.hear() == []


def test_a_question_waits_until_it_is_answered_or_withdrawn():
    answered, withdrawn = Story(), Story()
    event = answered.invited()
    assert answered.endpoint.waits(event.token)
    answered.endpoint.accept(event.token, ANSWER, answered.now)
    assert not answered.endpoint.waits(event.token)
    withdrawn.say(withdrawn.invite(branch="z9hG4bKc"))
    token = next(each.token for each in withdrawn.events() if isinstance(each, Invited))
    assert withdrawn.endpoint.waits(token)
    withdrawn.say(withdrawn.request("CANCEL", branch="z9hG4bKc"))
    assert not withdrawn.endpoint.waits(token) and not withdrawn.endpoint.waits(Token(99))


def test_an_unknown_token_does_nothing():
    story = Story()
    assert not story.endpoint.confirm(Token(99), story.now)
    assert story.hear() == []


def test_a_refusal_carries_what_the_user_says():
    story = Story()
    event = story.invited()
    story.endpoint.refuse(
        event.token, 503, story.now, retry_after=9, warning='399 recorder "full"', headers=(("X-Why", "disk"),)
    )
    (answer,) = story.hear()
    fields = [answer.headers.get(name) for name in ("Retry-After", "Warning", "X-Why")]
    assert fields == ["9", '399 recorder "full"', "disk"]
    assert story.events() == [Closed(event.session)]


def test_hanging_up_an_unanswered_call_refuses_it():
    story = Story()
    event = story.invited()
    story.endpoint.hang_up(event.session, "drain", story.now)
    assert statuses(story.hear()) == [503]
    assert story.events() == [Closed(event.session)]


def test_a_call_nobody_decides_about_is_only_told_100():
    story = Story()
    story.invited()
    assert statuses(story.wait(60)) == [100]
