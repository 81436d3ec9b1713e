"""Dialogs whose connection went with an earlier process, and what waits until there is one again."""

from dataclasses import replace
from itertools import pairwise

import pytest

from sip.message.header_values import Flow
from sip.ua.events import Acknowledged, Closed, Ending, Expired, Probed, Reoffered
from tests.sip.memory_client import ANSWER, LATE, OFFER, SDP, TCP, TCP2, Story, established, methods, revived, statuses

TCP3 = replace(TCP2, connection=3)
NEW = OFFER.replace(b"1 1 IN", b"1 2 IN")
PAUSED = ANSWER + b"a=inactive\r\n"


def refuse(story: Story, sent: list[object] | None = None) -> None:
    """Let every connection that is asked for now be refused."""
    for item in sent or story.sent:
        if item.flow.connection == 0:
            story.endpoint.connection_lost(item.flow, story.now)


def asked_late(newer: bytes = b"", refused: int = 0) -> Story:
    """A client that asked for our offer by a re-INVITE, and the successor of the process that answered it.

    We may have a newer offer. For some seconds the client listens nowhere.
    """
    story = established(flow=TCP)
    story.say(story.request("INVITE"))
    if newer:
        story.reoffer(newer)
    after = revived(story, flow=TCP2)
    for _ in range(refused):
        after.wait(1)
        refuse(after)
    return after


def test_the_200_and_then_the_offer_use_a_new_connection_s2_s21():
    after = asked_late()
    assert statuses(after.wait(0.5)) == [200]
    assert [(item.flow.remote, item.flow.connection) for item in after.sent] == [(TCP.remote, 0)]
    heard = after.wait(3.5)
    assert (statuses(heard), methods(heard)) == ([200, 200], ["INVITE"])
    assert heard[-1].body == ANSWER
    assert methods(after.say(after.reply(heard[-1], 200, body=OFFER))) == ["ACK"]
    assert statuses(after.wait(60)) == []
    assert {type(event).__name__ for event in after.events()} == {"Reanswered"}


def test_who_is_heard_on_a_new_connection_gets_the_200_at_once():
    after = asked_late()
    update, ok = after.say(after.request("UPDATE"))
    assert [update.cseq.method, ok.cseq.method] == ["UPDATE", "INVITE"]
    after.events()
    after.say(after.request("ACK", cseq=2, **SDP))
    assert after.events() == [Acknowledged(after.session, OFFER)]
    assert after.wait(60) == []


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("answered", [True, False], ids=["asked late", "begun late"])
def test_a_new_offer_says_that_the_200_before_has_arrived_s9(method, answered):
    if answered:
        after = asked_late()
    else:
        story = Story(TCP)
        story.answered(**LATE)
        after = revived(story, flow=TCP2)
    after.say(after.request(method, body=NEW, kind="application/sdp"))
    (event,) = after.events()
    assert isinstance(event, Reoffered)
    assert after.answer(event).cseq.method == method
    if method == "INVITE":
        after.say(after.request("ACK"))
    assert after.wait(60) == []


def test_a_new_invite_without_offer_says_so_too():
    after = asked_late()
    answer, *_ = after.say(after.request("INVITE"))
    assert (answer.status, answer.cseq.number) == (200, 3)
    after.say(after.request("ACK", **SDP))
    assert after.wait(60) == []


def test_a_refused_offer_leaves_ours_to_be_repeated():
    after = asked_late()
    after.say(after.request("INVITE", body=NEW, kind="application/sdp"))
    (event,) = after.events()
    after.endpoint.refuse(event.token, 488, after.now)
    heard = after.hear()
    assert (statuses(heard), methods(heard)) == ([488], ["INVITE"])


@pytest.mark.parametrize(
    ("refused", "sign"), [(90, "another connection"), (5, "update"), (5, "ack"), (5, "copy")]
)  # fmt: skip
def test_any_sign_of_the_client_brings_the_offer_that_waits(refused: int, sign: str):
    after = asked_late(PAUSED, refused=refused)
    assert not [event for event in after.events() if isinstance(event, Expired)]
    if sign == "another connection":
        after.connect(TCP3)
    elif sign == "copy":  # of what was sent on the first connection
        after.flow = TCP
    data = {"ack": after.request("ACK", cseq=2, **SDP), "copy": after.request("INVITE", branch="z9hG4bK-3", cseq=2)}
    heard = after.say(data.get(sign) or after.request("UPDATE"), after.flow if sign == "another connection" else TCP2)
    assert [message.body for message in heard if methods([message])] == [PAUSED]
    after.hang_up()
    assert after.sent[-1].flow.connection in (TCP2.connection, TCP3.connection)


def test_a_saved_transaction_name_fits_all_versions():
    story = Story(TCP)
    story.answered(branch="z9hG4bK-7")
    assert story.endpoint.export(story.session)["transaction"] == ["z9hG4bK-7", "192.0.2.1:40001", "INVITE"]


def two_calls() -> Story:
    """Two dialogs over one connection, and the successor: the other one speaks, the first has an offer to hear."""
    story = established(flow=replace(TCP, certificate_names=("sbc.example",)))
    story.reoffer()
    first = story.endpoint.export(story.session)
    story.another()
    story.established()
    after = revived(story, flow=replace(TCP2, certificate_names=("sbc.example",)))
    after.session = after.endpoint.restore(first, after.now)
    after.wait(5)
    refuse(after)
    return after


def test_dialogs_that_shared_a_connection_share_the_next_s23():
    after = two_calls()
    heard = after.say(after.request("UPDATE", cseq=0))  # one that moves nothing shows nothing
    assert (statuses(heard), methods(heard)) == ([500], [])
    update, invite = after.say(after.request("UPDATE", cseq=9))
    assert (update.status, invite.call_id) == (200, "call-1@client.example")
    assert after.sent[-1].flow.connection == TCP2.connection
    assert methods(after.hang_up()) == ["BYE"]


@pytest.mark.parametrize(
    "way",
    [
        replace(TCP3, certificate_names=("elsewhere.example",)),
        replace(TCP3, remote=("192.0.2.99", 40003), certificate_names=("sbc.example",)),
        replace(TCP3, transport="tls", certificate_names=("sbc.example",)),
    ],
    ids=["certificate", "address", "transport"],
)
def test_an_uncertain_peer_gets_only_its_own_dialog_s23(way: Flow):
    after = two_calls()
    after.connect(way)
    heard = after.say(after.request("UPDATE"))
    assert (statuses(heard), methods(heard)) == ([200], [])
    after.hang_up()
    assert all(item.flow.connection == 0 for item in after.sent)


def test_a_dialog_that_went_on_elsewhere_stays_there_s23():
    after, elsewhere = two_calls(), replace(TCP3, certificate_names=("elsewhere.example",))
    after.endpoint.connection_made(elsewhere, after.now)
    second, third = after.call_id, after.to
    after.call_id, after.to = "call-1@client.example", f"<sip:rec@192.0.2.10>;tag={after.session}"
    assert methods(after.say(after.request("UPDATE", cseq=9), elsewhere)) == ["INVITE"]
    after.call_id, after.to = second, third
    assert methods(after.say(after.request("UPDATE"))) == []
    after.hang_up()
    assert [item.flow for item in after.sent] == [elsewhere]


def unreachable(*lines: str) -> Story:
    """A dialog whose connection is gone, with a client that listens nowhere."""
    story = established(*lines, flow=TCP)
    story.lose(TCP)
    return story


def test_a_refresh_that_reaches_nobody_is_retried_s27():
    story = unreachable("Supported: timer", "Session-Expires: 1800;refresher=uas", "Allow: UPDATE")
    end, left = story.now + 1768, []  # 32 s before the whole interval (RFC 4028 section 10)
    while not (over := story.events()):
        left += [round(end - story.now) for method in methods(story.wait(1)) if method == "UPDATE"]
        refuse(story)
    assert over == [Expired(story.session, Ending.TIMER)]
    assert (left[0], len(left) > 5) == (868, True)
    assert all(abs(before - 2 * after) < 4 for before, after in pairwise(left))


def test_a_probe_or_bye_that_reaches_nobody_is_over_at_once():
    story = unreachable()
    assert story.endpoint.probe(story.session, story.now)
    story.hear()
    refuse(story)
    assert story.events() == [Probed(story.session, 408)]
    story.hang_up()
    refuse(story)
    story.wait(33)
    assert story.events() == [Closed(story.session)]


def test_a_request_that_may_have_arrived_is_given_its_time():
    story = established(flow=TCP)
    story.reoffer()
    story.lose(TCP)
    refuse(story)
    assert story.events() == []
    story.wait(33)
    assert story.events()[0] == Expired(story.session, Ending.DIALOG_GONE)
