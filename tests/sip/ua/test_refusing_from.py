"""Whoever cannot be served though others can gets 503, and no answer that would end a call."""

from __future__ import annotations

from sip.ua.events import Invited, Refused
from tests.sip.memory_client import Story, established, statuses


def test_options_and_unknown_dialogs_get_503_but_not_known_ones() -> None:
    story = established()
    story.endpoint.refuse_from(lambda flow: 30)
    for method in ("OPTIONS", "UPDATE", "INVITE", "BYE"):
        outside = "" if method == "OPTIONS" else ";tag=gone"
        (answer,) = story.say(story.request(method, to=f"<sip:rec@192.0.2.10>{outside}"))
        assert (answer.status, answer.headers.get("Retry-After")) == (503, "30")
        (event,) = story.events()
        assert isinstance(event, Refused) and event.reason == "customer-away"
    assert statuses(story.say(story.request("UPDATE"))) == [200]
    story.endpoint.refuse_from(lambda flow: None)
    assert statuses(story.say(story.request("UPDATE", to="<sip:rec@192.0.2.10>;tag=gone"))) == [481]


def test_a_first_invite_is_left_to_the_user() -> None:
    story = Story()
    story.endpoint.refuse_from(lambda flow: 30)
    assert 503 not in statuses(story.say(story.invite()))
    assert isinstance(story.events()[0], Invited)
