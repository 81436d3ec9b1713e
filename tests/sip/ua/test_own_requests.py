"""Each answer to each request of ours, as docs/interop/own-requests.md says: what follows, and who ends the call."""

import re
from pathlib import Path

import pytest

from sip.ua.events import Closed, Ending, Expired
from sip.ua.session_timer import MAX_INTERVAL, MIN_INTERVAL
from tests.sip.memory_client import ANSWER, Noise, Story, established, methods, revived

PAGE = Path(__file__).resolve().parents[3] / "docs" / "interop" / "own-requests.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| (none|\d)", line)
]
REQUESTS = ("INVITE", "UPDATE", "BYE", "INFO")
CELLS = [(row[0], request, cell) for row in ROWS for request, cell in zip(REQUESTS, row[1:5], strict=True)]
LONG = 640
"""Seconds in which everything has happened that follows an answer."""


class EvenNoise(Noise):
    """Give the middle where one byte of chance is asked for: the wait after glare is then one second."""

    def __call__(self, size):
        return b"\x80" if size == 1 else super().__call__(size)


def refreshed_by_us(expires=1800, **kw):
    """Place a call whose session we refresh, with a peer that supports everything."""
    story = Story(random=EvenNoise(), **kw)
    story.established(
        "Supported: timer", f"Session-Expires: {expires};refresher=uas", "Allow: INVITE, ACK, BYE, UPDATE, INFO"
    )
    return story


def sent(story, request):
    """Have the endpoint send a request; give it."""
    if request == "INVITE":
        (found,) = story.reoffer()
    elif request == "BYE":
        (found,) = story.hang_up()
    elif request == "UPDATE":
        (found,) = story.wait(900)
    else:
        assert story.endpoint.ask_picture(story.session, story.now)
        (found,) = story.hear()
    assert found.method == request
    return found


def accepted(story, request):
    """Have the peer accept a request, and refreshes by us."""
    change = request.method in ("INVITE", "UPDATE")
    lines = ["Session-Expires: 1800;refresher=uac"] if change else []
    return story.say(story.reply(request, 200, *lines, body=ANSWER if request.method == "INVITE" else b""))


def played(story, asked, answer):
    """Give the answers in a cell's words, and 200 to what follows; return what was sent, and after how many seconds."""
    began, heard, seen = story.now, [], {asked.cseq.number}

    def until(seconds):
        while story.now < began + seconds:
            take(story.wait(0.25))

    def take(requests):
        heard.extend((story.now - began, each) for each in requests)
        for each in requests:
            if each.cseq.number not in seen:
                seen.add(each.cseq.number)
                accepted(story, each)

    for part in answer.split(", then "):
        status, _, field = part.removeprefix("none").partition(" with ")
        if " after " in status:
            status, _, seconds = status.partition(" after ")
            until(int(seconds.removesuffix(" s")))
        if status == "200":
            take(accepted(story, asked))
        elif status:
            take(story.say(story.reply(asked, int(status), *([field] if field else []))))
    until(LONG)
    return [(round(at), each.method) for at, each in heard if each.method != "ACK" and each.cseq != asked.cseq]


@pytest.mark.parametrize(("answer", "request_", "cell"), CELLS, ids=lambda value: str(value).replace(" ", "-"))
def test_an_answer_to_a_request_of_ours(answer, request_, cell):
    """Duty S10."""
    story = refreshed_by_us()
    asked = sent(story, request_)
    found = played(story, asked, answer)
    ended = any(isinstance(event, Closed | Expired) for event in story.events())
    words = []
    if found:
        at, method = found[0]
        words.append(f"{'again' if method == request_ else method} after {at} s")
    assert "; ".join([*words, "ends" if ended else "goes on"]) == cell


def test_the_page_has_every_kind_of_answer():
    assert {row[0][0] for row in ROWS} == set("n123456") - {"3"} and len(CELLS) == 4 * len(ROWS) > 60


def test_an_offer_that_is_never_answered_is_cancelled():
    """Duty S11, RFC 3261 section 9.1."""
    story = refreshed_by_us()
    invite = sent(story, "INVITE")
    story.say(story.reply(invite, 180))
    cancels = story.wait(181)
    assert set(methods(cancels)) == {"CANCEL"}
    cancel = cancels[0]
    assert (cancel.via.branch, cancel.cseq.number, cancel.uri) == (invite.via.branch, invite.cseq.number, invite.uri)
    assert [cancel.headers.get(name) for name in ("From", "To", "Call-ID")] == [
        invite.headers.get(name) for name in ("From", "To", "Call-ID")
    ]
    assert story.say(story.reply(cancel, 200)) == [] and "CANCEL" not in methods(story.wait(5))
    assert methods(story.say(story.reply(invite, 487))) == ["ACK"]
    assert [event.status for event in story.events()] == [487]
    assert methods(story.reoffer()) == ["INVITE"]


def test_the_response_decides_interval_and_refresher():
    """Duty S27, RFC 4028 section 7.2."""
    story, wait = refreshed_by_us(), 900
    for expires, after in (("600;refresher=uac", 300), ("1200", 600)):
        (update,) = story.wait(wait)
        story.say(story.reply(update, 200, f"Session-Expires: {expires}"))
        assert methods(story.wait(after - 1)) == []
        wait = 1
    (update,) = story.wait(wait)
    story.say(story.reply(update, 200, "Session-Expires: 900;refresher=uas"))
    assert methods(story.wait(867)) == [], "the peer refreshes"
    assert set(methods(story.wait(2))) == {"BYE"}, "but it did not"


def test_without_an_interval_in_the_response_the_session_does_not_expire():
    story = refreshed_by_us(90)
    (update,) = story.wait(45)
    story.say(story.reply(update, 200))
    assert story.wait(MAX_INTERVAL) == story.events() == []


def test_no_response_makes_us_refresh_all_the_time():
    story = refreshed_by_us(90)
    (update,) = story.wait(45)
    story.say(story.reply(update, 200, "Session-Expires: 0;refresher=uac"))
    assert methods(story.wait(MIN_INTERVAL / 2 - 1)) == []
    assert methods(story.wait(1)) == ["UPDATE"]


def test_a_422_raises_the_interval_and_every_later_request_says_so():
    """RFC 4028 section 7.3; the raised minimum survives a restart."""
    story = refreshed_by_us()
    update = sent(story, "UPDATE")
    (second,) = story.say(story.reply(update, 422, "Min-SE: 2400"))
    assert [second.headers.get(name) for name in ("Session-Expires", "Min-SE")] == ["2400;refresher=uac", "2400"]
    story.say(story.reply(second, 200, "Session-Expires: 2400;refresher=uac"))
    after = revived(story)
    (third,) = after.wait(1200 + story.now - after.now)
    assert third.headers.get("Min-SE") == "2400"
    assert after.say(after.reply(third, 422, "Min-SE: 3600")) == [], "one 422 a call is followed at once"
    assert [each.headers.get("Min-SE") for each in after.wait(584)] == ["3600"]


@pytest.mark.parametrize("field", ["Min-SE: 900", "Min-SE: soon", f"Min-SE: {MAX_INTERVAL + 1}"])
def test_a_422_that_asks_for_nothing_longer_is_a_refusal(field):
    story = refreshed_by_us()
    assert story.say(story.reply(sent(story, "UPDATE"), 422, field)) == []
    assert methods(story.wait(434)) == ["UPDATE"]


def test_a_silent_peer_still_ends_the_call():
    story = established()
    story.reoffer()
    assert methods(story.wait(33))[-1] == "BYE"
    assert story.events() == [Expired(story.session, Ending.DIALOG_GONE)]
