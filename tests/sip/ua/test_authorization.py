"""Who may speak in a dialog: its owner, by a way as safe as the first; everybody else changes nothing."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sip.errors import RemoteError
from sip.message.header_values import Flow
from sip.message.message import Request
from sip.message.replaces import Replaces
from sip.transaction.response import Fields
from sip.ua.events import Dropped, Invited, Refused, Reoffered
from tests.sip.memory_client import ANSWER, OFFER, OURS, SDP, UDP, Story, methods, statuses
from tests.sip.memory_client import TCP as CONNECTION

HERE, BESIDE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "203.0.113.9"
TLS = Flow("tls", (OURS[0], 5061), (HERE, 40_000), 1, 1, ("sbc.acme.example", "acme.example"))
BARE = replace(TLS, certificate_names=())
TCP = replace(CONNECTION, listener=1)
THIEF = replace(UDP, remote=(ELSEWHERE, 5060))
CHALLENGE: Fields = (("WWW-Authenticate", 'Digest realm="rec"'),)


def judge(owner: str, flow: Flow, request: Request | None, before: Flow) -> Fields | None:
    """Let the two addresses of a network speak for acme; one that brings no password is asked for it."""
    if owner != "acme" or not flow.remote[0].startswith("192.0.2."):
        return None
    wanted = request is not None and "X-Asked" in request.headers
    return CHALLENGE if wanted else ()


def judged(flow: Flow = UDP, **kw: Any) -> tuple[Story, Any]:
    """A call of acme that waits for its answer."""
    story = Story(flow)
    story.endpoint.authorized_by(judge)
    event = story.invited(**kw)
    story.endpoint.own(event.session, "acme")
    return story, event


def running(flow: Flow = UDP, **kw: Any) -> Story:
    """A call of acme, answered and acknowledged."""
    story, event = judged(flow, **kw)
    story.answer(event)
    story.say(story.request("ACK"))
    story.events()
    return story


def state(story: Story) -> str:
    """Everything that is kept of the session, as a successor would get it."""
    return json.dumps(story.endpoint.export(story.session), sort_keys=True)


def say(story: Story, data: bytes, flow: Flow) -> list[Any]:
    """Speak by a way that may be new."""
    if flow.connection:
        story.endpoint.connection_made(flow, story.now)
    return story.say(data, flow)


WAYS = [
    (UDP, replace(UDP, remote=(ELSEWHERE, 5060)), False),
    (UDP, replace(UDP, remote=(BESIDE, 5060)), True),  # another node of the same cluster
    (UDP, replace(UDP, remote=(HERE, 9)), True),
    (UDP, replace(TCP, connection=2), True),
    (TCP, replace(TCP, connection=2), True),
    (TCP, replace(TCP, connection=2, remote=(ELSEWHERE, 5060)), False),
    (TLS, UDP, False),
    (TLS, replace(TCP, connection=2), False),
    (TLS, replace(TLS, connection=2), True),
    (TLS, replace(TLS, connection=2, remote=(BESIDE, 1), certificate_names=("other.example", "acme.example")), True),
    (TLS, replace(TLS, connection=2, certificate_names=("other.example",)), False),
    (TLS, replace(BARE, connection=2), False),
    (BARE, replace(BARE, connection=2), True),
    (BARE, UDP, False),
    (BARE, replace(BARE, connection=2, remote=(ELSEWHERE, 1)), False),
]


@pytest.mark.parametrize(("first", "way", "allowed"), WAYS)
def test_a_request_needs_its_owner_and_a_transport_as_safe(first: Flow, way: Flow, allowed: bool) -> None:
    for method in ("OPTIONS", "INFO", "UPDATE", "INVITE", "PRACK", "BYE", "re-offer"):
        story = running(first)
        before = state(story)
        sdp = SDP if method == "re-offer" else {}
        heard = say(story, story.request("INVITE" if sdp else method, cseq=9, **sdp), way)
        events = story.events()
        if allowed:
            assert statuses(heard) not in ([481], []) or method in ("PRACK", "BYE", "re-offer"), method
            assert events or method == "OPTIONS", method
            assert state(story) != before, method
        else:
            assert (method, statuses(heard)) == (method, [481])
            assert [(type(event), event.reason) for event in events] == [(Refused, "not-owner")], method
            assert state(story) == before, method
            assert statuses(story.say(story.request("OPTIONS", cseq=2))) == [200]  # the CSeq has not moved


@pytest.mark.parametrize(("first", "way", "allowed"), WAYS)
def test_only_the_owners_ack_ends_the_200_retransmissions(first: Flow, way: Flow, allowed: bool) -> None:
    story, event = judged(first)
    story.answer(event)
    say(story, story.request("ACK", cseq=1), way)
    assert [type(each) is Dropped for each in story.events()] == [not allowed]
    assert bool(statuses(story.wait(1.0))) is not allowed


@pytest.mark.parametrize(("first", "way", "allowed"), WAYS)
def test_a_foreign_repeat_or_cancel_has_no_effect(first: Flow, way: Flow, allowed: bool) -> None:
    story, event = judged(first, branch="z9hG4bK-x", cseq=1)
    invite, cancel = (story.invite(branch="z9hG4bK-x", cseq=1), story.request("CANCEL", branch="z9hG4bK-x", cseq=1))
    if not allowed:
        assert statuses(say(story, cancel, way)) == [481]
        assert story.endpoint.waits(event.token)
    story.answer(event)
    again = say(story, invite, way)
    assert [(answer.status, answer.body == ANSWER) for answer in again] == [(200, True) if allowed else (481, False)]
    story.wait(0.6)
    to = way if allowed else first
    assert [(item.flow.remote, item.flow.connection) for item in story.sent] == [(to.remote, to.connection)]


@pytest.mark.parametrize("branch", ["z9hG4bK-next", "old"])
@pytest.mark.parametrize("inside", [True, False])
def test_who_foretells_the_next_branch_does_not_take_its_place(branch: str, inside: bool) -> None:
    story = running()
    invite = story.request("INVITE", branch=branch, cseq=2, **SDP)
    if inside:
        assert statuses(story.say(invite, THIEF)) == [481]
    else:  # a call of the other customer
        assert story.say(story.invite(to="<sip:rec@192.0.2.10>", cseq=2, branch=branch), THIEF) == []
        (event,) = [each for each in story.events() if isinstance(each, Invited)]
        assert story.endpoint.refuse(event.token, 503, story.now)
        story.hear()
    assert story.say(invite) == []
    (asked,) = [each for each in story.events() if isinstance(each, Reoffered)]
    assert story.answer(asked).status == 200
    story.say(story.request("ACK", branch=branch, cseq=2), THIEF)
    assert statuses(story.wait(1.0)) == [200]
    story.say(story.request("ACK", branch=branch, cseq=2))
    assert story.wait(40.0) == []


def test_only_the_inviter_counts_before_the_owner_is_known() -> None:
    story = Story()
    story.endpoint.authorized_by(judge)
    story.say(story.invite(branch="z9hG4bK-x"))  # nobody has taken the event yet
    cancel = story.request("CANCEL", branch="z9hG4bK-x")
    assert statuses(story.say(cancel, replace(UDP, remote=(BESIDE, 5060)))) == [481]
    assert statuses(story.say(cancel)) == [200, 487]


def test_another_customers_identical_invite_is_another_call() -> None:
    story = running()
    copy = story.invite(cseq=1, to="<sip:rec@192.0.2.10>")
    assert statuses(story.say(copy)) == [482]
    other = story.invite(cseq=1, to="<sip:rec@192.0.2.10>")
    assert story.say(other, THIEF) == []
    assert len(story.endpoint.sessions()) == 2


def test_an_in_dialog_request_can_be_challenged() -> None:
    story = running()
    before = state(story)
    (answer,) = story.say(story.request("BYE", "X-Asked: 1"))
    assert (answer.status, answer.headers.get("WWW-Authenticate")) == (401, CHALLENGE[0][1])
    assert state(story) == before


@pytest.mark.parametrize(("way", "counts"), [(UDP, True), (replace(UDP, remote=(BESIDE, 1)), True), (THIEF, False)])
@pytest.mark.parametrize("status", [200, 481])
def test_a_response_counts_only_from_its_target_or_owner(way: Flow, counts: bool, status: int) -> None:
    story = running()
    (asked,) = story.reoffer()
    heard = story.say(story.reply(asked, status, body=OFFER if status == 200 else b""), way)
    dropped = [each.reason for each in story.events() if isinstance(each, Dropped)]
    assert dropped == ([] if counts else ["response-foreign"])
    assert methods(heard) == (["ACK"] if counts else [])
    assert len(story.endpoint.sessions()) == (1 if status == 200 or not counts else 0)


def test_a_dialog_over_tls_takes_no_answer_by_another_way() -> None:
    story = running(TLS)
    (bye,) = story.hang_up("stop")
    for way, left in ((UDP, [story.session]), (TLS, [])):
        story.say(story.reply(bye, 200), way)
        assert story.endpoint.sessions() == left


def test_a_bye_without_ack_goes_to_the_sender_of_the_invite() -> None:
    story = Story()
    story.answered(contact="<sip:victim@198.51.100.66:7000>")
    byes, remotes = 0, set()
    while (at := story.endpoint.next_timer()) is not None and at < 1080:
        byes += methods(story.wait(at - story.now)).count("BYE")
        remotes |= {item.flow.remote for item in story.sent}
    assert byes > 3
    assert remotes == {UDP.remote}


@pytest.mark.parametrize("ours", [True, False])
def test_only_our_own_connection_to_the_contact_counts(ours: bool) -> None:
    """Private addresses occur twice: who connects to us from there may be another customer."""
    story = running(contact="<sip:sbc@10.0.0.5:5070;transport=tcp>;+sip.src")
    way = replace(TCP, remote=("10.0.0.5", 5070))
    story.endpoint.connection_made(way, story.now, ours=ours)
    assert statuses(story.say(story.request("OPTIONS"), way)) == [200 if ours else 481]


@pytest.mark.parametrize("contact", ["sip:sbc@203.0.113.9:5070", "sip:sbc@203.0.113.9:5070;transport=tcp"])
@pytest.mark.parametrize(("foreign", "remote"), [(ELSEWHERE, UDP.remote), ("", (ELSEWHERE, 5070))])
def test_no_request_of_ours_goes_to_an_address_of_others(contact: str, foreign: str, remote: tuple[str, int]) -> None:
    story = running(contact=f"<{contact}>;+sip.src")
    story.endpoint.authorized_by(judge, is_foreign=lambda _, flow: flow.remote[0] == foreign)
    assert methods(story.hang_up("stop")) == ["BYE"]
    assert {item.flow.remote for item in story.sent} == {remote}


@pytest.mark.parametrize("age", ["this", "before"])
@pytest.mark.parametrize(("first", "way", "allowed"), WAYS)
def test_ownership_of_a_dialog_survives_a_restart(first: Flow, way: Flow, allowed: bool, age: str) -> None:
    left = json.loads(state(running(first)))
    if age == "before":
        del left["names"], left["heard"]
    story = Story(UDP)
    story.endpoint.authorized_by(judge)
    session = story.endpoint.restore(left, story.now)
    story.endpoint.own(session, "acme")
    story.to = f"<sip:rec@192.0.2.10>;tag={session}"
    heard = say(story, story.request("OPTIONS", cseq=5), way)
    assert statuses(heard) == [200 if allowed else 481]


def test_the_place_of_a_dialog_over_tls_is_taken_by_tls_only() -> None:
    story = running(TLS)
    named = Replaces(story.call_id, story.session, "client")
    for way in (TLS, replace(TLS, certificate_names=("standby.acme.example",))):
        assert story.endpoint.replaced(named, "acme", way) == story.session
    for way in (UDP, TCP):
        with pytest.raises(RemoteError, match="replaces-unknown"):
            story.endpoint.replaced(named, "acme", way)
