"""Who may speak in a dialog: its owner, by a way as safe as the first; everybody else changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sip.errors import RemoteError
from sip.message.header_values import Flow
from sip.message.message import Request, Response
from sip.message.replaces import Replaces
from sip.transaction.response import Fields
from sip.ua.events import Dropped, Invited, Refused, Reoffered, Send
from tests.sip.memory_client import ANSWER, OFFER, OURS, UDP, Story, methods, statuses

HERE, BESIDE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "203.0.113.9"
TLS = Flow("tls", (OURS[0], 5061), (HERE, 40_000), 1, 1, ("sbc.acme.example", "acme.example"))
BARE = replace(TLS, certificate_names=())
TCP = Flow("tcp", OURS, (HERE, 40_000), 1, 1)
CHALLENGE: Fields = (("WWW-Authenticate", 'Digest realm="rec"'),)


def judge(owner: str, flow: Flow, request: Request | None, before: Flow) -> Fields | None:
    """Let the two addresses of a network speak for acme; one that brings no password is asked for it."""
    if owner != "acme" or not flow.remote[0].startswith("192.0.2."):
        return None
    wanted = request is not None and "X-Asked" in request.headers
    return CHALLENGE if wanted else ()


def running(flow: Flow = UDP, **settings: object) -> Story:
    """A call of acme, answered and acknowledged."""
    story = Story(flow, **settings)
    story.endpoint.authorized_by(judge)
    event = story.invited()
    story.endpoint.own(event.session, "acme")
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    story.say(story.request("ACK"))
    story.events()
    return story


def state(story: Story) -> str:
    """Everything that is kept of the session, as a successor would get it."""
    (session,) = story.endpoint.sessions()
    return json.dumps(story.endpoint.export(session), sort_keys=True)


def by(flow: Flow, **change: object) -> Flow:
    """Another way, known to the endpoint if it is a connection."""
    return replace(flow, **change)  # type: ignore[arg-type]  # names of fields


def say(story: Story, data: bytes, flow: Flow) -> list[Request | Response]:
    """Speak by a way that may be new."""
    if flow.connection:
        story.endpoint.connection_made(flow, story.now)
    return story.say(data, flow)


WAYS = [
    (UDP, by(UDP, remote=(ELSEWHERE, 5060)), False),
    (UDP, by(UDP, remote=(BESIDE, 5060)), True),  # another node of the same cluster
    (UDP, by(UDP, remote=(HERE, 9)), True),
    (UDP, by(TCP, connection=2), True),
    (TCP, by(TCP, connection=2), True),
    (TCP, by(TCP, connection=2, remote=(ELSEWHERE, 5060)), False),
    (TLS, UDP, False),
    (TLS, by(TCP, connection=2), False),
    (TLS, by(TLS, connection=2), True),
    (TLS, by(TLS, connection=2, remote=(BESIDE, 1), certificate_names=("other.example", "acme.example")), True),
    (TLS, by(TLS, connection=2, certificate_names=("other.example",)), False),
    (TLS, by(BARE, connection=2), False),
    (BARE, by(BARE, connection=2), True),
    (BARE, UDP, False),
    (BARE, by(BARE, connection=2, remote=(ELSEWHERE, 1)), False),
]


@pytest.mark.parametrize("method", ["OPTIONS", "INFO", "UPDATE", "INVITE", "PRACK", "BYE", "re-offer"])
@pytest.mark.parametrize(("first", "way", "allowed"), WAYS)
def test_a_request_needs_its_owner_and_a_transport_as_safe(first: Flow, way: Flow, allowed: bool, method: str) -> None:
    story = running(first)
    before, sdp = state(story), {"body": OFFER, "kind": "application/sdp"} if method == "re-offer" else {}
    heard = say(story, story.request("INVITE" if sdp else method, cseq=9, **sdp), way)  # type: ignore[arg-type]  # a table of arguments
    events = story.events()
    if allowed:
        assert statuses(heard) not in ([481], []) or method in ("PRACK", "BYE", "re-offer")
        assert events or method == "OPTIONS"
        assert state(story) != before
    else:
        assert statuses(heard) == [481]
        assert [(type(event), event.reason) for event in events] == [(Refused, "not-owner")]  # type: ignore[union-attr]  # refusals alone
        assert state(story) == before
        assert statuses(story.say(story.request("OPTIONS", cseq=2))) == [200]  # the CSeq has not moved


@pytest.mark.parametrize(("first", "way", "allowed"), WAYS)
def test_only_the_owners_ack_ends_the_200_retransmissions(first: Flow, way: Flow, allowed: bool) -> None:
    story = Story(first)
    story.endpoint.authorized_by(judge)
    event = story.invited()
    story.endpoint.own(event.session, "acme")
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    say(story, story.request("ACK", cseq=1), way)
    assert [type(each) is Dropped for each in story.events()] == [not allowed]
    assert bool(statuses(story.wait(1.0))) is not allowed


@pytest.mark.parametrize(("first", "way", "allowed"), WAYS)
def test_a_foreign_repeat_or_cancel_has_no_effect(first: Flow, way: Flow, allowed: bool) -> None:
    story = Story(first)
    story.endpoint.authorized_by(judge)
    event, invite = story.invited(branch="z9hG4bK-x", cseq=1), story.invite(branch="z9hG4bK-x", cseq=1)
    story.endpoint.own(event.session, "acme")
    cancel = story.request("CANCEL", branch="z9hG4bK-x", cseq=1)
    if not allowed:
        assert statuses(say(story, cancel, way)) == [481]
        assert story.endpoint.waits(event.token)
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.hear()
    again = say(story, invite, way)
    assert [answer.body == ANSWER for answer in again] == [allowed]
    assert statuses(again) == [200 if allowed else 481]
    (repeated,) = [item for item in _repeated(story) if isinstance(item, Send)][:1]
    to = way if allowed else first
    assert (repeated.flow.remote, repeated.flow.connection) == (to.remote, to.connection)


@pytest.mark.parametrize("branch", ["z9hG4bK-next", "old"])
@pytest.mark.parametrize("inside", [True, False])
def test_who_foretells_the_next_branch_does_not_take_its_place(branch: str, inside: bool) -> None:
    story = running()
    thief = by(UDP, remote=(ELSEWHERE, 5060))
    sdp = {"body": OFFER, "kind": "application/sdp", "branch": branch, "cseq": 2}
    if inside:
        assert statuses(story.say(story.request("INVITE", **sdp), thief)) == [481]  # type: ignore[arg-type]  # a table of arguments
    else:  # a call of the other customer
        assert story.say(story.invite(to="<sip:rec@192.0.2.10>", cseq=2, branch=branch), thief) == []
        (event,) = [each for each in story.events() if isinstance(each, Invited)]
        assert story.endpoint.refuse(event.token, 503, story.now)
        story.hear()
    assert story.say(story.request("INVITE", **sdp)) == []  # type: ignore[arg-type]  # a table of arguments
    (asked,) = [each for each in story.events() if isinstance(each, Reoffered)]
    story.endpoint.accept(asked.token, ANSWER, story.now)
    assert statuses(story.hear()) == [200]
    story.say(story.request("ACK", branch=branch, cseq=2), thief)
    assert statuses(story.wait(1.0)) == [200]
    story.say(story.request("ACK", branch=branch, cseq=2))
    assert story.wait(40.0) == []


def test_a_copied_branch_does_not_replace_a_pending_invite() -> None:
    story = Story()
    story.endpoint.authorized_by(lambda owner, flow, request, before: () if flow.remote[0] == owner else None)
    thief = by(UDP, remote=(ELSEWHERE, 5060))
    invite = story.invite(branch="z9hG4bK-1", cseq=1)
    tags = {}
    for flow, data in ((UDP, invite), (thief, story.invite(branch="z9hG4bK-2", cseq=1))):
        story.say(data, flow)
        (event,) = [each for each in story.events() if isinstance(each, Invited)]
        story.endpoint.own(event.session, flow.remote[0])
        story.endpoint.accept(event.token, ANSWER, story.now)
        story.hear()
        tags[flow] = f"<sip:rec@192.0.2.10>;tag={event.session}"
    copied = story.request("INVITE", branch="z9hG4bK-1", cseq=2, to=tags[thief])
    assert statuses(story.say(copied, thief)) == [481]
    (again,) = story.say(invite)
    assert isinstance(again, Response) and (again.status, again.headers.get("To")) == (200, tags[UDP])


def _repeated(story: Story) -> list[object]:
    story.endpoint.handle_timer(story.now + 0.6)
    return list(story.endpoint.data_to_send())


def test_only_the_inviter_counts_before_the_owner_is_known() -> None:
    story = Story()
    story.endpoint.authorized_by(judge)
    story.say(story.invite(branch="z9hG4bK-x"))  # nobody has taken the event yet
    cancel = story.request("CANCEL", branch="z9hG4bK-x")
    assert statuses(story.say(cancel, by(UDP, remote=(BESIDE, 5060)))) == [481]
    assert statuses(story.say(cancel)) == [200, 487]


def test_another_customers_identical_invite_is_another_call() -> None:
    story = running()
    call = {"cseq": 1, "to": "<sip:rec@192.0.2.10>"}
    assert statuses(story.say(story.invite(**call))) == [482]
    assert story.say(story.invite(**call), by(UDP, remote=(ELSEWHERE, 5060))) == []
    assert len(story.endpoint.sessions()) == 2


def test_an_in_dialog_request_can_be_challenged() -> None:
    story = running()
    before = state(story)
    (answer,) = story.say(story.request("BYE", "X-Asked: 1"))
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers.get("WWW-Authenticate")) == (401, CHALLENGE[0][1])
    assert state(story) == before


@pytest.mark.parametrize(("way", "taken"), [(UDP, True), (by(UDP, remote=(BESIDE, 1)), True)])
@pytest.mark.parametrize("status", [200, 481])
def test_a_response_counts_only_from_its_target_or_owner(way: Flow, taken: bool, status: int) -> None:
    for flow, counts in ((way, taken), (by(UDP, remote=(ELSEWHERE, 5060)), False)):
        story = running()
        (session,) = story.endpoint.sessions()
        story.endpoint.reoffer(session, ANSWER, story.now)
        (asked,) = story.hear()
        assert isinstance(asked, Request)
        heard = story.say(story.reply(asked, status, body=OFFER if status == 200 else b""), flow)
        events = story.events()
        assert [each.reason for each in events if isinstance(each, Dropped)] == ([] if counts else ["response-foreign"])
        assert methods(heard) == (["ACK"] if counts else [])
        assert len(story.endpoint.sessions()) == (1 if status == 200 or not counts else 0)


def test_a_dialog_over_tls_takes_no_answer_by_another_way() -> None:
    story = running(TLS)
    (session,) = story.endpoint.sessions()
    story.endpoint.hang_up(session, "stop", story.now)
    (bye,) = story.hear()
    assert isinstance(bye, Request)
    story.say(story.reply(bye, 200), UDP)
    assert story.endpoint.sessions() == [session]
    story.say(story.reply(bye, 200))
    assert story.endpoint.sessions() == []


def test_a_bye_without_ack_goes_to_the_sender_of_the_invite() -> None:
    story = Story()
    event = story.invited(contact="<sip:victim@198.51.100.66:7000>")
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.hear()
    sent: list[Send] = []
    end = story.now + 80
    while (at := story.endpoint.next_timer()) is not None and at < end:
        story.endpoint.handle_timer(at)
        sent += [item for item in story.endpoint.data_to_send() if isinstance(item, Send)]
    assert [item.data[:3] for item in sent].count(b"BYE") > 3
    assert {item.flow.remote for item in sent} == {UDP.remote}


@pytest.mark.parametrize("ours", [True, False])
def test_only_our_own_connection_to_the_contact_counts(ours: bool) -> None:
    """Private addresses occur twice: who connects to us from there may be another customer."""
    story = Story()
    story.endpoint.authorized_by(judge)
    event = story.invited(contact="<sip:sbc@10.0.0.5:5070;transport=tcp>;+sip.src")
    story.endpoint.own(event.session, "acme")
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    story.say(story.request("ACK"))
    way = by(TCP, remote=("10.0.0.5", 5070))
    story.endpoint.connection_made(way, story.now, ours=ours)
    assert statuses(story.say(story.request("OPTIONS"), way)) == [200 if ours else 481]


@pytest.mark.parametrize("contact", ["sip:sbc@203.0.113.9:5070", "sip:sbc@203.0.113.9:5070;transport=tcp"])
def test_no_request_of_ours_goes_to_an_address_of_others(contact: str) -> None:
    for owner in ("203.0.113.9", ""):
        story = Story()
        story.endpoint.authorized_by(judge, is_foreign=lambda _, flow, own=owner: flow.remote[0] == own)  # type: ignore[misc]  # a default of a lambda
        event = story.invited(contact=f"<{contact}>;+sip.src")
        story.endpoint.own(event.session, "acme")
        story.endpoint.accept(event.token, ANSWER, story.now)
        story.learn(story.hear()[0])
        story.say(story.request("ACK"))
        story.endpoint.hang_up(event.session, "stop", story.now)
        assert methods(story.hear()) == ["BYE"]
        remotes = {item.flow.remote for item in story.sent if isinstance(item, Send)}
        assert remotes == {UDP.remote if owner else ("203.0.113.9", 5070)}


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
    (session,) = story.endpoint.sessions()
    named = Replaces(story.call_id, session, "client")
    for way in (TLS, replace(TLS, certificate_names=("standby.acme.example",))):
        assert story.endpoint.replaced(named, "acme", way) == session
    for way in (UDP, TCP):
        with pytest.raises(RemoteError, match="replaces-unknown"):
            story.endpoint.replaced(named, "acme", way)
