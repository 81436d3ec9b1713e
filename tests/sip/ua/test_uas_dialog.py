"""Requests in a dialog. `test_machine_dialog.py` tries them in any order."""

import pytest

from sip.ua.events import Acknowledged, Cancelled, Closed, HungUp, Informed
from tests.sip.memory_client import ANSWER, LATE, METADATA, OFFER, SDP, Story, established, multipart, statuses


def test_a_refused_reinvite_leaves_the_session_running():
    """Duties 8.12, S9."""
    story = established()
    story.say(story.invite())
    (offer,) = story.events()
    (busy,) = story.say(story.invite())
    assert busy.status == 500 and 0 <= int(busy.headers.get("Retry-After")) <= 10
    story.endpoint.refuse(offer.token, 488, story.now)
    assert statuses(story.hear()) == [488]
    assert statuses(story.say(story.request("UPDATE"))) == [200]


@pytest.mark.parametrize("offered", [False, True])
@pytest.mark.parametrize(
    ("method", "lines", "body", "kind", "status", "during_ours"),
    [
        ("INFO", (), b"Signal=1", "application/dtmf-relay", 200, 200),
        ("INFO", ("Info-Package: foo",), b"x", "application/x-foo", 469, 469),  # RFC 6086 section 4.2.2
        ("INFO", ("Info-Package: foo",), METADATA, "application/rs-metadata+xml", 200, 200),
        ("OPTIONS", (), b"", "", 200, 200),
        ("PRACK", ("RAck: 1 1 INVITE",), b"", "", 481, 481),
        ("UPDATE", (), METADATA, "application/rs-metadata+xml", 200, 200),
        ("UPDATE", (), OFFER, "application/sdp", None, 491),
        ("INVITE", (), OFFER, "application/sdp", None, 491),
        ("INVITE", (), b"", "", 200, 491),
    ],
)
def test_a_request_in_the_dialog(method, lines, body, kind, status, during_ours, offered):
    """Duties S9, S25, S26: only another offer meets ours with 491."""
    story = established()
    if offered:
        story.reoffer()
    heard = story.say(story.request(method, *lines, body=body, kind=kind))
    wanted = during_ours if offered else status
    assert statuses(heard) == ([wanted] if wanted else [])
    if status == 469:
        assert heard[0].headers.all("Recv-Info") == [""]
    assert [event.metadata for event in story.events() if isinstance(event, Informed)][-1:] == (
        [METADATA if body == METADATA else None] if wanted == 200 and method != "OPTIONS" else []
    )


def test_a_reinvite_without_sdp_gets_our_last_answer_as_offer():
    story = established()
    (refused,) = story.reoffer(ANSWER + b"a=inactive\r\n")
    story.say(story.reply(refused, 488))
    story.events()
    (answer,) = story.say(story.request("INVITE", "Require: siprec"))
    assert (answer.status, answer.body) == (200, ANSWER)
    (informed,) = story.events()
    assert (informed.method, informed.metadata) == ("INVITE", None)
    assert statuses(story.say(story.request("UPDATE", **SDP))) == [491]
    story.events()
    story.say(story.request("ACK", cseq=2, **SDP))
    assert story.events() == [Acknowledged(story.session, OFFER)]


def test_a_reinvite_without_sdp_can_end_a_hold_o6():
    held = ANSWER.replace(b"t=0 0\r\n", b"t=0 0\r\na=x\r\n") + b"a=inactive\r\na=setup:active\r\n"
    story = Story()
    story.answered(sdp=held)
    story.say(story.request("ACK"))
    offer = held.replace(b"o=- 2 1 ", b"o=- 2 2 ").replace(b"inactive", b"recvonly").replace(b":active", b":actpass")
    for _ in range(2):
        (answer,) = story.say(story.request("INVITE", "Require: siprec"))
        assert answer.body == offer
        story.say(story.request("ACK", **SDP))


def test_a_reinvite_without_sdp_does_not_end_a_pause_f6():
    ours = ANSWER.replace(b"RTP/AVP 0\r\n", b"RTP/AVP 0\r\na=recvonly\r\n")
    story = Story()
    story.answered(sdp=ours)
    story.say(story.request("ACK"))
    paused = ours.replace(b"o=- 2 1 ", b"o=- 2 2 ").replace(b"recvonly", b"inactive")
    for sdp in (paused, ours):
        (invite,) = story.reoffer(sdp, paused=sdp is paused)
        story.say(story.reply(invite, 200, body=OFFER))
        (answer,) = story.say(story.request("INVITE", "Require: siprec"))
        assert answer.body == sdp
        story.say(story.request("ACK", **SDP))


def test_update_with_metadata_only_is_answered_at_once():
    """Duties R17, S26."""
    story = established()
    body, kind = multipart(offer=None)
    update = story.request("UPDATE", "Require: siprec", body=body, kind=kind)
    (answer,) = first = story.say(update)
    assert (answer.status, answer.body) == (200, b"")
    (informed,) = story.events()
    assert isinstance(informed, Informed)
    assert (informed.session, informed.metadata, informed.method) == (story.session, METADATA, "UPDATE")
    assert story.say(update) == first
    assert story.events() == []


@pytest.mark.parametrize(("method", "kind"), [("UPDATE", ""), ("BYE", "application/rs-metadata+xml")])
def test_bare_metadata_are_found(method, kind):
    """Duty R17."""
    story = established()
    story.say(story.request(method, body=METADATA, kind=kind))
    assert story.events()[0].metadata == METADATA


def test_an_old_cseq_is_500_and_ends_nothing():
    """Duty S8."""
    story = established()
    assert statuses(story.say(story.request("UPDATE", cseq=9))) == [200]
    assert statuses(story.say(story.request("BYE", cseq=5))) == [500]
    story.events()
    story.say(story.request("BYE", cseq=10))
    assert isinstance(story.events()[0], HungUp)


@pytest.mark.parametrize("method", ["BYE", "UPDATE", "INVITE", "INFO", "OPTIONS", "PRACK"])
def test_an_unknown_dialog_is_481(method):
    """Duties 8.13, S8."""
    story = established()
    assert statuses(story.say(story.request(method, to="<sip:rec@192.0.2.10>;tag=nosuchtag"))) == [481]


@pytest.mark.parametrize(
    ("name", "value"), [("sender", "<sip:sbc@192.0.2.1>;tag=other"), ("call_id", "other@client.example")]
)
def test_all_three_parts_of_a_dialog_have_to_fit(name, value):
    story = established()
    setattr(story, name, value)
    assert statuses(story.say(story.request("BYE"))) == [481]


def test_late_offer_the_answer_comes_in_the_ack():
    """Duty S34."""
    story = Story()
    event = story.invited(**LATE)
    assert event.offer is None
    story.answer(event)
    story.say(story.request("ACK", **SDP))
    assert story.events() == [Acknowledged(story.session, OFFER)]
    (again,) = story.say(story.request("INVITE"))
    assert again.body == ANSWER


def test_a_bye_that_only_knows_our_100_cancels():
    """Duty S12."""
    story = Story()
    story.invited()
    (trying,) = story.wait(0.3)
    story.learn(trying)
    assert statuses(story.say(story.request("UPDATE"))) == [500]
    assert statuses(story.say(story.request("BYE"))) == [200, 487]
    assert story.events()[-2:] == [Cancelled(story.session), Closed(story.session)]


def test_a_target_refresh_moves_the_target_only_on_success_s8():
    story = established()
    story.say(story.request("UPDATE", contact="<sip:moved@192.0.2.1:5099>"))
    story.say(story.request("UPDATE", contact="<sip:away@192.0.2.1:5099>", cseq=1))
    (bye,) = story.hang_up()
    assert bye.uri == "sip:moved@192.0.2.1:5099"
