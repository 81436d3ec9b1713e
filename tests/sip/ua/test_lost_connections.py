"""Dialogs whose connection went with an earlier process, and what waits until there is one again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from sip.message.header_values import Flow
from sip.ua.events import Acknowledged, Closed, Dropped, Ending, Expired, Probed, Reoffered
from tests.sip.memory_client import ANSWER, OFFER, Story, methods, statuses
from tests.sip.ua.test_checkpoint import TCP, TCP2, revived

TCP3 = replace(TCP2, connection=3)
NEW = OFFER.replace(b"1 1 IN", b"1 2 IN")


def refuse(story: Story) -> None:
    """Let every connection that is asked for now be refused."""
    for item in story.sent:
        if item.flow.connection == 0:
            story.endpoint.connection_lost(item.flow, story.now)


def asked_late(again: Flow | None = None) -> tuple[Story, str]:
    """A client that asked for our offer by a re-INVITE, and the successor of the process that answered it."""
    story = Story(TCP)
    event = story.established()
    story.say(story.request("INVITE"))
    return revived(story, story.endpoint.export(event.session), again), event.session


def test_the_200_and_then_the_offer_use_a_new_connection_s2_s21():
    after, _ = asked_late(TCP2)
    assert statuses(after.wait(0.5)) == [200]
    assert [(item.flow.remote, item.flow.connection) for item in after.sent] == [(TCP.remote, 0)]
    heard = after.wait(3.5)
    assert (statuses(heard), methods(heard)) == ([200, 200], ["INVITE"])
    assert heard[-1].body == ANSWER
    assert methods(after.say(after.reply(heard[-1], 200, body=OFFER))) == ["ACK"]
    assert statuses(after.wait(60)) == []
    assert not [event for event in after.events() if isinstance(event, Expired | Dropped)]


def test_who_is_heard_on_a_new_connection_gets_the_200_at_once():
    after, key = asked_late(TCP2)
    update, ok = after.say(after.request("UPDATE"))
    assert [update.cseq.method, ok.cseq.method] == ["UPDATE", "INVITE"]
    after.events()
    after.cseq = 2
    after.say(after.request("ACK", body=OFFER, kind="application/sdp"))
    assert after.events() == [Acknowledged(key, OFFER)]
    assert after.wait(60) == []


def test_an_offer_that_reaches_nobody_waits_for_the_client():
    after, _ = asked_late(TCP2)
    for _ in range(90):
        after.wait(1)
        refuse(after)
    assert not [event for event in after.events() if isinstance(event, Expired)]
    after.endpoint.connection_made(TCP3, after.now)
    assert methods(after.say(after.request("UPDATE"), TCP3)) == ["INVITE"]


@pytest.mark.parametrize("offer", [NEW, b""], ids=["offer", "no offer"])
def test_a_new_invite_says_that_the_one_before_was_acknowledged(offer):
    after, _ = asked_late(TCP2)
    kind = "application/sdp" if offer else ""
    heard = after.say(after.request("INVITE", body=offer, kind=kind))
    if offer:
        (event,) = after.events()
        assert isinstance(event, Reoffered)
        assert after.endpoint.accept(event.token, ANSWER, after.now)
        heard = after.hear()
    assert [(message.status, message.cseq.number) for message in heard][:1] == [(200, 3)]
    after.say(after.request("ACK", body=b"" if offer else OFFER, kind="" if offer else "application/sdp"))
    assert after.wait(60) == []


def test_the_newest_waiting_offer_is_made_after_a_restart():
    story = Story(TCP)
    event = story.established()
    story.say(story.request("INVITE"))
    paused = ANSWER + b"a=inactive\r\n"
    story.endpoint.reoffer(event.session, paused, story.now, paused=True)
    after = revived(story, story.endpoint.export(event.session), TCP2)
    assert [message.body for message in after.wait(4.1) if methods([message])] == [paused]


def test_an_update_with_an_offer_says_so_too():
    after, key = asked_late(TCP2)
    after.say(after.request("UPDATE", body=NEW, kind="application/sdp"))
    (event,) = after.events()
    assert after.endpoint.accept(event.token, ANSWER, after.now)
    assert statuses(after.hear()) == [200]
    assert after.wait(60) == []
    assert after.endpoint._context.timers.due_at(("session", key), "repeat") is None


def test_an_ack_restores_all_dialogs_of_a_connection_s23():
    story = Story(TCP)
    first = story.endpoint.export(story.established().session)
    story.call_id, story.cseq, story.to = "call-2@client.example", 0, "<sip:rec@192.0.2.10>"
    event = story.established()
    story.say(story.request("INVITE"))
    after = revived(story, story.endpoint.export(event.session), TCP2)
    after.endpoint.restore(first, after.now)
    after.cseq = 2
    after.say(after.request("ACK", body=OFFER, kind="application/sdp"))
    assert {after.endpoint._context.sessions.get(key).flow for key in (first["key"], event.session)} == {TCP2}


def test_an_unexpected_ack_does_not_move_a_reachable_dialog():
    story = Story(TCP)
    event = story.established()
    story.endpoint.connection_made(TCP2, story.now)
    story.say(story.request("ACK"), TCP2)
    assert story.endpoint._context.sessions.get(event.session).flow == TCP


def test_a_refused_offer_leaves_ours_to_be_repeated():
    after, _ = asked_late(TCP2)
    after.say(after.request("INVITE", body=NEW, kind="application/sdp"))
    (event,) = after.events()
    after.endpoint.refuse(event.token, 488, after.now)
    heard = after.hear()
    assert (statuses(heard), methods(heard)) == ([488], ["INVITE"])


def test_a_new_offer_replaces_ours_even_before_any_answer_s9():
    story = Story(TCP)
    event = story.invited(body=b"", kind="")
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    after = revived(story, story.endpoint.export(event.session), TCP2)
    after.say(after.request("INVITE", body=NEW, kind="application/sdp"))
    (event,) = after.events()
    assert isinstance(event, Reoffered)
    assert after.endpoint.accept(event.token, ANSWER, after.now)
    assert statuses(after.hear()) == [200]
    after.say(after.request("ACK"))
    assert after.wait(60) == []


def test_a_retransmitted_invite_shows_the_way_too():
    story = Story(TCP)
    event = story.established()
    invite = story.request("INVITE")
    story.say(invite)
    after = revived(story, story.endpoint.export(event.session), TCP2)
    for _ in range(5):
        after.wait(1)
        refuse(after)
    heard = after.say(invite)
    assert (statuses(heard), methods(heard)) == ([200], ["INVITE"])


def test_an_offer_goes_to_a_client_heard_while_connecting():
    after, _ = asked_late(TCP2)
    after.wait(4)
    tried = list(after.sent)
    assert statuses(after.say(after.request("UPDATE"))) == [200]
    after.sent = tried
    refuse(after)
    assert methods(after.wait(0)) == ["INVITE"]
    assert after.sent[0].flow == TCP2


def test_a_saved_transaction_name_fits_all_versions():
    story = Story(TCP)
    event = story.invited(branch="z9hG4bK-7")
    story.endpoint.accept(event.token, ANSWER, story.now)
    assert story.endpoint.export(event.session)["transaction"] == ["z9hG4bK-7", "192.0.2.1:40001", "INVITE"]


def test_an_ack_that_nothing_waits_for_shows_the_way():
    after, key = asked_late(TCP2)
    for _ in range(5):
        after.wait(1)
        refuse(after)
    after.cseq = 2
    assert methods(after.say(after.request("ACK", body=OFFER, kind="application/sdp"))) == ["INVITE"]
    after.endpoint.hang_up(key, "", after.now)
    after.hear()
    assert after.sent[0].flow == TCP2


def two_calls(names: tuple[str, ...] = ()) -> tuple[Story, str]:
    """Two dialogs over one connection, and the successor: the other one speaks, the first has an offer to hear."""
    story = Story(replace(TCP, certificate_names=("sbc.example",)))
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    story.hear()
    first = story.endpoint.export(event.session)
    story.call_id, story.cseq, story.to = "call-2@client.example", 0, "<sip:rec@192.0.2.10>"
    other = story.established()
    after = revived(story, story.endpoint.export(other.session), replace(TCP2, certificate_names=names))
    after.endpoint.restore(first, after.now)
    after.wait(5)
    refuse(after)
    return after, event.session


def test_dialogs_that_shared_a_connection_share_the_next_s23():
    after, key = two_calls(("sbc.example",))
    update, invite = after.say(after.request("UPDATE"))
    assert (update.status, invite.call_id) == (200, "call-1@client.example")
    assert after.sent[-1].flow.connection == TCP2.connection
    after.endpoint.hang_up(key, "", after.now)
    assert methods(after.hear()) == ["BYE"]


@pytest.mark.parametrize(
    "way",
    [
        replace(TCP3, certificate_names=("elsewhere.example",)),
        replace(TCP3, remote=("192.0.2.99", 40003), certificate_names=("sbc.example",)),
        replace(TCP3, transport="tls", certificate_names=("sbc.example",)),
    ],
    ids=["certificate", "address", "transport"],
)
def test_an_uncertain_peer_gets_only_its_own_dialog_s23(way):
    after, key = two_calls(("sbc.example",))
    after.endpoint.connection_made(way, after.now)
    heard = after.say(after.request("UPDATE"), way)
    assert (statuses(heard), methods(heard)) == ([200], [])
    assert after.endpoint._context.sessions.get(key).flow.connection == -1


def test_a_dialog_that_went_on_elsewhere_stays_there_s23():
    after, key = two_calls(("sbc.example",))
    elsewhere = replace(TCP3, certificate_names=("elsewhere.example",))
    after.endpoint.connection_made(elsewhere, after.now)
    first = after.endpoint._context.sessions.get(key)
    first.flow = elsewhere
    assert methods(after.say(after.request("UPDATE"))) == []
    assert first.flow == elsewhere


def test_a_request_that_moves_nothing_shows_no_way():
    after, _ = two_calls(("sbc.example",))
    heard = after.say(after.request("UPDATE", cseq=0))
    assert (statuses(heard), methods(heard)) == ([500], [])
    assert methods(after.say(after.request("UPDATE", cseq=9))) == ["INVITE"]


def test_a_dialog_that_is_over_is_not_looked_for():
    after, key = two_calls(("sbc.example",))
    after.endpoint._client.gone(after.endpoint._context.sessions.get(key), after.now, bye=False)
    assert methods(after.say(after.request("UPDATE"))) == []


def unreachable(*lines: str) -> tuple[Story, str]:
    """A dialog whose connection is gone, with a client that listens nowhere."""
    story = Story(TCP)
    event = story.established(*lines)
    story.endpoint.connection_lost(TCP, story.now)
    return story, event.session


def test_a_refresh_that_reaches_nobody_is_retried_s27():
    story, key = unreachable("Supported: timer", "Session-Expires: 1800;refresher=uas", "Allow: UPDATE")
    end, left = story.now + 1768, []  # 32 s before the whole interval (RFC 4028 section 10)
    while not (over := story.events()):
        left += [round(end - story.now) for method in methods(story.wait(1)) if method == "UPDATE"]
        refuse(story)
    assert over == [Expired(key, Ending.TIMER)]
    assert (left[0], len(left) > 5) == (868, True)
    assert all(abs(before - 2 * after) < 4 for before, after in pairwise(left))


def test_a_probe_that_reaches_nobody_gives_408_at_once():
    story, key = unreachable()
    assert story.endpoint.probe(key, story.now)
    story.hear()
    refuse(story)
    assert story.events() == [Probed(key, 408)]


def test_the_newer_of_two_undelivered_offers_is_sent():
    story, key = unreachable()
    story.endpoint.reoffer(key, ANSWER + b"a=inactive\r\n", story.now)
    story.hear()
    story.endpoint.reoffer(key, ANSWER, story.now)
    refuse(story)
    story.endpoint.connection_made(TCP2, story.now)
    heard = story.say(story.request("INFO"), TCP2)
    assert [message.body for message in heard if methods([message])] == [ANSWER]


def test_a_bye_that_reaches_nobody_ends_the_session():
    story, key = unreachable()
    story.endpoint.hang_up(key, "", story.now)
    story.hear()
    refuse(story)
    story.wait(33)
    assert story.events() == [Closed(key)]


def test_an_answered_offer_survives_the_loss_of_a_connection():
    story, key = unreachable()
    story.endpoint.connection_made(TCP2, story.now)
    story.endpoint.reoffer(key, ANSWER, story.now)
    (invite,) = story.hear()
    assert methods(story.say(story.reply(invite, 200, body=OFFER), TCP2)) == ["ACK"]
    story.events()
    assert story.endpoint.probe(key, story.now)
    story.hear()
    refuse(story)
    assert story.events() == [Probed(key, 408)]
    assert methods(story.wait(60)) == []


def test_a_request_that_may_have_arrived_is_given_its_time():
    story = Story(TCP)
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    story.hear()
    story.endpoint.connection_lost(TCP, story.now)
    story.hear()
    refuse(story)
    assert story.events() == []
    story.wait(33)
    assert story.events()[0] == Expired(event.session, Ending.DIALOG_GONE)


def test_a_lost_request_of_an_ended_dialog_is_dropped():
    story, key = unreachable("Allow: INFO")
    story.endpoint.reoffer(key, ANSWER, story.now)
    story.endpoint.ask_picture(key, story.now)
    story.hear()
    sent = list(story.sent)
    story.endpoint.connection_made(TCP2, story.now)
    story.say(story.request("BYE"), TCP2)
    story.sent = sent
    refuse(story)
    assert not [event for event in story.events() if isinstance(event, Expired)]
