"""Who is refused, and with what; what the user decides, in time and too late."""

import pytest

from sip.transaction.response import ACCEPT, ALLOW
from sip.ua.events import Closed, Dropped, Invited, Refused, Token
from tests.sip.memory_client import ANSWER, METADATA, SDP, Story, established, multipart, statuses

OUTSIDE = "<sip:rec@192.0.2.10>"


GTD = b"--b\r\nContent-Type: application/gtd\r\nContent-Disposition: signal;handling=%s\r\n\r\nx\r\n" + multipart()[0]
MIXED = multipart()[1]


@pytest.mark.parametrize(
    ("data", "status", "field"),
    [
        (Story().invite(uri="http://x.example"), 416, None),
        (Story().invite("From: <sip:second@x>;tag=2"), 400, None),
        (Story().invite("Require: foo, siprec, Bar"), 420, ("Unsupported", "foo, Bar")),
        (Story().invite("Content-Encoding: gzip"), 415, ("Accept-Encoding", "identity")),
        (Story().invite(kind="application/unknown"), 415, ("Accept", ACCEPT)),
        (Story().invite(body=GTD % b"required", kind=MIXED), 415, ("Accept", ACCEPT)),
        (Story().invite("Accept: text/none"), 406, None),
        (Story().invite("Accept: text/none", "Content-Encoding: gzip", "Require: foo"), 420, None),
        (Story().invite("Require: foo").replace(b" SIP/2.0\r\n", b" SIP/7.0\r\n", 1), 505, None),
        (Story().invite("Supported: timer", "Session-Expires: 60"), 422, ("Min-SE", "90")),
        (Story().request("INVITE", contact="<sip:src@b>", **SDP), 421, ("Require", "siprec")),
        (Story().request("OPTIONS", uri="http:x"), 416, None),
        (Story().request("BYE"), 481, None),
        *((Story().request(method), 405, ("Allow", ALLOW)) for method in ("REGISTER", "MESSAGE", "SUBSCRIBE")),
        *((Story().request(method), 501, ("Allow", ALLOW)) for method in ("NEWMETHOD", "invite")),
    ],
)
def test_the_first_fault_decides(data, status, field):
    """Duties 8.1, 8.3, 8.6, S14, S16, S27."""
    story = Story()
    (answer,) = story.say(data)
    assert answer.status == status
    assert field is None or answer.headers.get(field[0]) == field[1]
    (event,) = story.events()
    assert isinstance(event, Refused)
    method = data.split(b" ")[0].decode()
    assert event.method == ("unknown" if status == 501 else method)


@pytest.mark.parametrize(
    ("lines", "contact", "metadata"),
    [(("Require: siprec",), "<sip:a@b>", None), ((), "<sip:a@b>;+sip.src", None), ((), "<sip:a@b>", METADATA)],
)
def test_each_mark_alone_is_enough(lines, contact, metadata):
    """Duty R1."""
    story = Story()
    body, kind = multipart(metadata=metadata)
    story.say(story.request("INVITE", *lines, body=body, kind=kind, contact=contact))
    assert isinstance(story.events()[0], Invited)


def test_what_need_not_be_understood_is_accepted_r8_s25():
    Story(plain_calls=True).invited(contact="<sip:src@b>", **SDP)
    Story().invited(body=GTD % b"optional", kind=MIXED)
    lines = ("Supported: record-aware, timer, 100rel", "Proxy-Require: privacy", "Require: 100rel, siprec")
    assert Story().answered(*lines).status == 200


def test_options_says_what_we_can_and_503_while_draining():
    """Duties R7, S13."""
    story = established()
    options = story.request("OPTIONS", to=OUTSIDE)
    (answer,) = story.say(options.replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
    assert (answer.status, answer.headers.get("Accept-Encoding")) == (200, "identity")
    assert all(name in answer.headers for name in ("Allow", "Accept", "Supported"))
    story.endpoint.set_accepting(False, 30)
    (answer,) = story.say(story.request("OPTIONS", to=OUTSIDE))
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "30")
    assert statuses(story.say(story.invite(to=OUTSIDE))) == [503]
    assert statuses(story.say(story.request("UPDATE"))) == [200]
    story.endpoint.set_accepting(True)
    assert statuses(story.say(story.request("OPTIONS", to=OUTSIDE))) == [200]
    assert story.endpoint.sessions() == [story.session]


def test_the_limit_of_dialogs_is_kept():
    story = Story(max_dialogs=1)
    story.established()
    story.another()
    assert statuses(story.say(story.invite())) == [503]


def test_beyond_the_limit_of_transactions_nothing_is_stored():
    story = Story(max_transactions=3)
    for _ in range(10):
        story.another()
        assert statuses(story.say(story.invite("Require: foo"))) == [420]
    assert statuses(story.wait(0.6)) == [420] * 3  # only what is stored is repeated


def test_an_ack_is_never_answered():
    story = Story()
    for data in (story.request("ACK"), story.request("ACK").replace(b"CSeq: 0", b"CSeq: x")):
        assert story.say(data) == []
        assert [type(e) for e in story.events()] == [Dropped]


@pytest.mark.parametrize(("field", "reason"), [(b"CSeq: 1 BYE", "response-unknown"), (b"CSeq: BYE", "cseq")])
def test_a_response_to_no_request_is_dropped(field, reason):
    """Duty 8.14."""
    story = Story()
    assert story.say(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n" + field + b"\r\n\r\n") == []
    assert story.events() == [Dropped(story.flow, reason)]


def test_keepalives_and_stun_get_silence_on_udp():
    """Duty S20."""
    story = Story()
    for data in (b"", b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)):
        assert story.say(data) == []
    assert story.events() == []


@pytest.mark.parametrize("uri", ["sip:anybody@192.0.2.10", "tel:+4930"])
def test_any_user_is_accepted_s15(uri):
    story = Story()
    assert statuses(story.say(story.request("OPTIONS", uri=uri))) == [200]


def test_a_question_waits_until_it_is_answered_or_withdrawn():
    story = Story()
    event = story.invited()
    assert story.endpoint.waits(event.token)
    story.answer(event)
    assert not story.endpoint.waits(event.token)
    assert not story.endpoint.accept(event.token, ANSWER, story.now)
    assert not story.endpoint.refuse(event.token, 488, story.now)
    story.another()
    other = story.invited(branch="z9hG4bKc")
    assert story.endpoint.waits(other.token)
    story.say(story.request("CANCEL", branch="z9hG4bKc"))
    assert not story.endpoint.waits(other.token)
    assert not story.endpoint.waits(Token(99)) and not story.endpoint.confirm(Token(99), story.now)
    assert story.hear() == []


def test_hanging_up_an_unanswered_call_refuses_it():
    story = Story()
    story.invited()
    assert statuses(story.wait(60)) == [100]
    assert statuses(story.hang_up("drain")) == [503]
    assert story.events() == [Closed(story.session)]
