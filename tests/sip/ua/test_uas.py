"""Who is refused, and with what; what the user decides, in time and too late."""

from __future__ import annotations

import pytest

from sip.message.header_values import Flow
from sip.transaction.response import ACCEPT
from sip.ua.events import Closed, Dropped, Invited, Refused, Token
from tests.sip.memory_client import ANSWER, METADATA, OFFER, Story, multipart, statuses

TCP = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40001), 1)
TCP2 = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40002), 2)


@pytest.mark.parametrize(
    ("lines", "change", "status", "field"),
    [
        ((), {"uri": "http://x.example"}, 416, None),
        (("From: <sip:second@x>;tag=2",), {}, 400, None),
        (("Require: foo, siprec, Bar",), {}, 420, ("Unsupported", "foo, Bar")),
        (("Content-Encoding: gzip",), {}, 415, ("Accept-Encoding", "identity")),
        ((), {"kind": "application/unknown"}, 415, ("Accept", ACCEPT)),
        (("Accept: text/none",), {}, 406, None),
        (("Accept: text/none", "Content-Encoding: gzip", "Require: foo"), {}, 420, None),
    ],
)
def test_the_first_fault_decides(lines, change, status, field):
    """Duties 8.6, S16."""
    story = Story()
    (answer,) = story.say(story.invite(*lines, **change))
    assert answer.status == status
    if field:
        assert answer.headers.get(field[0]) == field[1]
    assert [type(e) for e in story.events()] == [Refused]


def test_a_wrong_version_comes_before_everything():
    """Duty 8.1."""
    story = Story()
    data = story.invite("Require: foo").replace(b" SIP/2.0\r\n", b" SIP/7.0\r\n", 1)
    assert statuses(story.say(data)) == [505]


@pytest.mark.parametrize(
    ("method", "status"),
    [("REGISTER", 405), ("MESSAGE", 405), ("SUBSCRIBE", 405), ("NEWMETHOD", 501), ("invite", 501)],
)
def test_other_methods(method, status):
    """Duty S14."""
    story = Story()
    (answer,) = story.say(story.request(method))
    assert (answer.status, "INVITE" in answer.headers.get("Allow")) == (status, True)
    (told,) = story.events()
    assert told.method in ("REGISTER", "MESSAGE", "SUBSCRIBE", "unknown")


@pytest.mark.parametrize(
    ("lines", "contact", "with_metadata"),
    [
        (("Require: siprec",), "<sip:a@b>", False),
        (("Require: 100relsiprec",), "<sip:a@b>", False),
        (("Require: SipRec",), "<sip:a@b>", False),
        ((), "<sip:a@b>;+sip.src", False),
        ((), "<sip:a@b>;src", False),
        ((), "<sip:a@b;+sip.src>", False),
        ((), "<sip:a@b>;+sip-src", False),
        ((), "<sip:a@b>", True),
    ],
)
def test_each_mark_alone_is_enough(lines, contact, with_metadata):
    """Duty R1."""
    story = Story()
    body, kind = multipart(metadata=METADATA if with_metadata else None)
    story.say(story.request("INVITE", *lines, body=body, kind=kind, contact=contact))
    assert isinstance(story.events()[0], Invited)


def test_an_ordinary_call_is_421_unless_wanted():
    """Duty 8.3."""
    story = Story()
    plain = {"body": OFFER, "kind": "application/sdp", "contact": "<sip:src@b>"}
    (answer,) = story.say(story.request("INVITE", **plain))
    assert (answer.status, answer.headers.get("Require")) == (421, "siprec")
    wanted = Story(plain_calls=True)
    wanted.say(wanted.request("INVITE", **plain))
    assert isinstance(wanted.events()[0], Invited)


def test_an_unknown_optional_part_is_ignored():
    body, kind = multipart()
    gtd = b"--b\r\nContent-Type: application/gtd\r\nContent-Disposition: signal;handling=optional\r\n\r\nx\r\n"
    story = Story()
    assert isinstance(story.invited(body=gtd + body, kind=kind), Invited)
    strict = Story()
    must = gtd.replace(b"optional", b"required")
    assert statuses(strict.say(strict.invite(body=must + body, kind=kind))) == [415]


def test_options_says_what_we_can_and_503_while_draining():
    """Duties R7, S13."""
    story = Story()
    event = story.established()
    asked = {"to": "<sip:rec@192.0.2.10>"}
    (answer,) = story.say(story.request("OPTIONS", **asked))
    assert answer.status == 200
    assert all(name in answer.headers for name in ("Allow", "Accept", "Accept-Encoding", "Supported"))
    story.endpoint.set_accepting(False, 30)
    (answer,) = story.say(story.request("OPTIONS", **asked))
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "30")
    assert statuses(story.say(story.invite(to="<sip:rec@192.0.2.10>"))) == [503]
    assert statuses(story.say(story.request("UPDATE"))) == [200]
    story.endpoint.set_accepting(True)
    assert statuses(story.say(story.request("OPTIONS", **asked))) == [200]
    assert event.session in story.endpoint.sessions()


def test_the_limit_of_dialogs_is_kept():
    story = Story(max_dialogs=1)
    story.established()
    story.call_id, story.to = "other", "<sip:rec@192.0.2.10>"
    assert statuses(story.say(story.invite())) == [503]


def test_beyond_the_limit_of_transactions_nothing_is_stored():
    story = Story(max_transactions=3)
    for n in range(10):
        story.call_id = f"c{n}"
        assert statuses(story.say(story.invite("Require: foo"))) == [420]
    assert len(story.endpoint._context.servers) == 3


def test_an_ack_is_never_answered():
    story = Story()
    for data in (story.request("ACK"), story.request("ACK").replace(b"CSeq: 0", b"CSeq: x")):
        assert story.say(data) == []
        assert [type(e) for e in story.events()] == [Dropped]


def test_a_response_to_no_request_is_dropped():
    """Duty 8.14."""
    story = Story()
    assert story.say(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nCSeq: 1 BYE\r\n\r\n") == []
    assert story.events() == [Dropped(story.flow, "response-unknown")]


def test_a_udp_answer_goes_to_the_source_address():
    story = Story()
    story.say(story.request("OPTIONS"))
    assert story.sent[0].flow.remote == ("192.0.2.1", 5070)
    strange = story.request("OPTIONS").replace(b";rport", b";maddr=9.9.9.9")
    story.say(strange.replace(b"192.0.2.1:5070", b"h.example:5099"))
    assert story.sent[0].flow.remote == ("192.0.2.1", 5099)
    answer = story.say(story.request("OPTIONS").replace(b"192.0.2.1:5070", b"h.example"))[0]
    assert (answer.via.param("received"), answer.via.param("rport")) == ("192.0.2.1", "5070")


def test_keepalives_and_stun_get_silence_on_udp():
    """Duty S20."""
    story = Story()
    for data in (b"", b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)):
        assert story.say(data) == []
    assert story.events() == []


def test_record_awareness_and_privacy_are_ignored_r8():
    story = Story()
    event = story.invited("Supported: record-aware, timer", "Proxy-Require: privacy")
    assert event.offer is not None


def test_a_request_at_its_last_hop_is_answered_all_the_same_s13():
    story = Story()
    options = story.request("OPTIONS").replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    (answer,) = story.say(options)
    assert answer.status == 200 and answer.headers.get("Accept-Encoding") == "identity"
    assert "Allow" in answer.headers and "Accept" in answer.headers and "Supported" in answer.headers


def test_any_user_is_accepted_but_not_a_foreign_scheme_s15():
    story = Story()
    assert statuses(story.say(story.request("OPTIONS", uri="sip:anybody@192.0.2.10"))) == [200]
    assert statuses(story.say(story.request("OPTIONS", uri="tel:+4930"))) == [200]
    assert statuses(story.say(story.request("OPTIONS", uri="http:x"))) == [416]


def test_reliable_provisional_answers_are_never_needed_s25():
    story = Story()
    event = story.invited("Supported: 100rel", "Require: 100rel, siprec")
    story.endpoint.accept(event.token, ANSWER, story.now)
    assert statuses(story.hear()) == [200]


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


def test_an_undecided_call_gets_only_100():
    story = Story()
    story.invited()
    assert statuses(story.wait(60)) == [100]
