"""Session timers that the client leaves to us: refreshed in time, and again where that was refused (RFC 4028)."""

from __future__ import annotations

import pytest

from tests.sip.memory_client import ANSWER, Story, methods


@pytest.mark.parametrize(("allow", "method"), [("INVITE, UPDATE", "UPDATE"), ("INVITE", "INVITE")])
def test_a_refused_refresh_is_tried_again_in_time(allow, method):
    story = Story()
    story.established("Supported: timer", f"Allow: {allow}", "Session-Expires: 600;refresher=uas")
    (first,) = story.wait(300)
    story.say(story.reply(first, 500))
    (second,) = [m for m in story.wait(134) if m.method == method]  # halfway to 568, where it would end
    assert second.cseq.number == first.cseq.number + 1
    story.say(story.reply(second, 200, body=ANSWER if method == "INVITE" else b""))
    assert "BYE" not in methods(story.wait(290))


def test_a_session_whose_refreshes_are_refused_ends():
    story = Story()
    story.established("Supported: timer", "Allow: UPDATE", "Session-Expires: 600;refresher=uas")
    tried = 0
    while (heard := story.wait(0.25)) == [] or methods(heard) == ["UPDATE"]:
        for update in heard:
            story.say(story.reply(update, 500))
            tried += 1
    assert (methods(heard), tried) == (["BYE"], 6)


def test_we_refresh_where_the_client_wants_it():
    story = Story()
    story.established("Supported: timer", "Allow: INVITE, UPDATE", "Session-Expires: 600;refresher=uas")
    (update,) = story.wait(300)
    assert (update.method, update.headers.get("Session-Expires")) == ("UPDATE", "600;refresher=uac")
    (invite,) = story.say(story.reply(update, 405))
    assert (invite.method, invite.body) == ("INVITE", ANSWER)
