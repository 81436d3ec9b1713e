"""Requests of ours: BYE, re-INVITE, refresh."""

from __future__ import annotations

import pytest

from sip.message.header_values import Flow
from sip.message.multipart import parts_of
from sip.ua.events import Closed, Ending, Expired, Probed, Reanswered, Withdrawn
from sip.ua.session import MAX_SNAPSHOTS
from tests.sip.memory_client import ANSWER, METADATA, OFFER, Story, methods, multipart, statuses

TCP = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40001), 1)
TCP2 = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40002), 2)


def test_we_hang_up_and_any_answer_closes():
    """Duty R30."""
    for status in (200, 405, 481):
        story = Story()
        event = story.established()
        story.endpoint.hang_up(event.session, "erasure", story.now)
        (bye,) = story.hear()
        assert (bye.method, bye.uri) == ("BYE", "sip:sbc@192.0.2.1:5070")
        assert bye.headers.get("Reason") == 'SIP;cause=200;text="erasure"'
        story.say(story.reply(bye, status))
        assert story.events() == [Closed(event.session)]


def test_our_bye_without_an_answer_is_repeated_and_given_up():
    story = Story()
    event = story.established()
    story.endpoint.hang_up(event.session, "", story.now)
    heard = story.hear() + story.wait(33)
    assert set(methods(heard)) == {"BYE"}
    assert len(heard) == 11
    assert story.events() == [Closed(event.session)]


def test_hanging_up_waits_for_the_ack():
    story = Story()
    event = story.invited()
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    story.endpoint.hang_up(event.session, "", story.now)
    assert story.hear() == []
    assert methods(story.say(story.request("ACK"))) == ["BYE"]


def test_crossing_byes_are_both_answered():
    story = Story()
    event = story.established()
    story.endpoint.hang_up(event.session, "", story.now)
    story.hear()
    assert statuses(story.say(story.request("BYE"))) == [200]
    assert story.events()[-1] == Closed(event.session)


def test_messages_name_an_address_the_peer_can_reach():
    story, ours = Story(contact_host="198.51.100.9"), "<sip:198.51.100.9:5060;transport=udp>;+sip.srs"
    event = story.invited()
    story.endpoint.accept(event.token, ANSWER, story.now)
    (answer,) = story.hear()
    story.learn(answer)
    story.say(story.request("ACK"))
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (invite,) = story.hear()
    assert [each.headers.get("Contact") for each in (answer, invite)] == [ours, ours]


def test_our_reinvite_is_acknowledged_and_reported():
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (invite,) = story.hear()
    assert (invite.method, invite.body) == ("INVITE", ANSWER)
    assert "+sip.srs" in invite.headers.get("Contact")
    assert statuses(story.say(story.invite())) == [491]
    story.events()
    accepted = story.reply(invite, 200, "Contact: <sip:new@192.0.2.1:5070>", body=OFFER)
    assert methods(story.say(accepted)) == ["ACK"]
    assert story.events() == [Reanswered(event.session, 200, OFFER, None, ANSWER)]
    assert methods(story.say(accepted)) == ["ACK"]
    assert story.events() == []


def test_our_reinvite_backs_off_after_491():
    """Duty S10."""
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (invite,) = story.hear()
    assert methods(story.say(story.reply(invite, 491))) == ["ACK"]
    again = story.wait(2.0)
    assert set(methods(again)) == {"INVITE"}
    assert again[0].cseq.number == invite.cseq.number + 1
    assert story.events() == []


def test_our_waiting_offer_is_dropped_after_a_newer_one_s10():
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (ours,) = story.hear()
    story.say(story.reply(ours, 491))
    story.say(story.invite())
    (offer,) = story.events()
    story.endpoint.accept(offer.token, ANSWER, story.now)
    story.hear()
    story.say(story.request("ACK"))
    assert methods(story.wait(10)) == []


@pytest.mark.parametrize("status", [408, 481])
def test_a_peer_that_lost_the_dialog_ends_it(status):
    """Duty S10."""
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    story.say(story.reply(story.hear()[0], status))
    assert story.events() == [Expired(event.session, Ending.DIALOG_GONE), Closed(event.session)]


def test_a_session_that_is_not_refreshed_ends():
    """Duties F10, R25, S27."""
    story = Story()
    event = story.established("Supported: timer", "Session-Expires: 1800")
    assert story.wait(1767) == []
    assert set(methods(story.wait(2))) == {"BYE"}
    assert story.events()[0] == Expired(event.session, Ending.TIMER)


def test_a_refresh_by_update_or_reinvite_keeps_it_alive():
    story = Story()
    story.established("Supported: timer", "Session-Expires: 1800")
    story.wait(1500)
    (answer,) = story.say(story.request("UPDATE", "Supported: timer", "Session-Expires: 1800;refresher=uac"))
    assert answer.headers.get("Session-Expires") == "1800;refresher=uac"
    assert answer.headers.get("Require") == "timer"
    story.wait(1500)
    assert story.events()[-1].method == "UPDATE"


def test_a_short_interval_is_422():
    """Duty S27."""
    story = Story()
    (answer,) = story.say(story.invite("Supported: timer", "Session-Expires: 60"))
    assert (answer.status, answer.headers.get("Min-SE")) == (422, "90")


ASKS = "Accept: application/sdp, application/rs-metadata-request"


def test_a_snapshot_is_asked_for_by_update_if_allowed_r20_r21():
    """Duties R3, X17."""
    story = Story()
    event = story.established(ASKS, "Allow: INVITE, UPDATE")
    assert story.endpoint.ask_snapshot(event.session, "metadata damaged\r\nX: y", story.now)
    (update,) = story.hear()
    assert (update.method, update.headers.get("Content-Type")) == ("UPDATE", "application/rs-metadata-request")
    assert update.headers.get("Content-Disposition") == "recording-session"
    assert update.body == b"SRS-Reason: metadata damagedX y\r\n"
    assert "+sip.srs" in (update.headers.get("Contact") or "")
    assert story.say(story.reply(update, 200)) == []
    assert story.events() == []


def test_a_requests_number_is_saved_before_it_is_sent():
    story = Story()
    event = story.established(ASKS, "Allow: INVITE, UPDATE")
    assert story.endpoint.ask_snapshot(event.session, "no base", story.now)
    assert story.events() == []
    assert story.numbered == [event.session]
    state = story.endpoint.export(event.session)
    (update,) = story.hear()
    assert state["local_cseq"] == update.cseq.number
    story.endpoint.hang_up(event.session, "over", story.now)
    story.events()
    assert story.numbered == [event.session], "a session that ends has no successor"


def test_a_snapshot_is_asked_for_by_reinvite_without_update():
    story = Story()
    event = story.established(ASKS)
    assert story.endpoint.ask_snapshot(event.session, "no base", story.now)
    (invite,) = story.hear()
    found = parts_of(invite.headers, invite.body)
    kinds = [f"{part.media_type.kind}/{part.media_type.subtype}" for part in found]
    assert kinds == ["application/sdp", "application/rs-metadata-request"]
    assert (found[0].body, found[1].disposition) == (ANSWER, "recording-session")
    assert methods(story.say(story.reply(invite, 200, body=OFFER))) == ["ACK"]
    assert not story.endpoint.ask_snapshot("unknown", "", story.now)


def test_no_snapshot_is_asked_for_if_accept_lacks_it_r20():
    story = Story()
    event = story.established("Accept: application/sdp", "Allow: INVITE, UPDATE")
    assert not story.endpoint.ask_snapshot(event.session, "damaged", story.now)
    assert story.hear() == []


def test_a_snapshot_is_asked_for_a_few_times_only():
    story = Story()
    event = story.established(ASKS, "Allow: UPDATE")
    asked = [story.endpoint.ask_snapshot(event.session, "damaged", story.now) for _ in range(20)]
    assert sum(asked) == MAX_SNAPSHOTS


def test_an_unreachable_contact_gives_way_to_the_last_source():
    story = Story()
    event = story.established(contact="<sip:sbc@10.0.0.1:5060>;+sip.src")
    story.endpoint.hang_up(event.session, "", story.now)
    story.hear()
    first = [item.flow.remote for item in story.sent]
    later = []
    while not later or later[-1] != story.flow.remote:
        before = story.endpoint.next_timer()
        assert before is not None and before < story.now + 30
        story.now = before
        story.endpoint.handle_timer(story.now)
        story.hear()
        later += [item.flow.remote for item in story.sent]
    assert set(first) == {("10.0.0.1", 5060)}
    assert later[-2] == ("10.0.0.1", 5060)


def test_an_unresolved_contact_gives_way_to_the_last_source():
    story = Story()
    event = story.established(contact="<sip:sbc@sbc.example>;+sip.src")
    story.endpoint.hang_up(event.session, "", story.now)
    story.hear()
    (sent,) = story.sent
    assert sent.flow.remote == ("sbc.example", 5060)
    story.endpoint.connection_lost(sent.flow, story.now)
    story.hear()
    assert [item.flow.remote for item in story.sent] == [story.flow.remote]


def test_metadata_in_answers_to_our_requests_are_used_r17():
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (invite,) = story.hear()
    body, kind = multipart()
    head = story.reply(invite, 200, f"Content-Type: {kind}")
    story.say(head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(body)) + body)
    informed, answered = story.events()
    assert (informed.metadata, informed.method) == (METADATA, "INVITE")
    assert (answered.sdp, answered.metadata) == (OFFER, METADATA)


def test_an_offer_made_while_another_is_open_follows_it():
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER + b"a=inactive\r\n", story.now)
    (first,) = story.hear()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    assert story.hear() == []
    ack, second = story.say(story.reply(first, 200, body=OFFER))
    assert (ack.method, second.method, second.body) == ("ACK", "INVITE", ANSWER)


def test_a_waiting_offer_goes_out_once_theirs_is_cancelled():
    story = Story()
    event = story.established()
    story.say(story.invite(branch="z9hG4bK-theirs"))
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    assert story.hear() == []
    heard = story.say(story.request("CANCEL", branch="z9hG4bK-theirs"))
    assert (statuses(heard), methods(heard)) == ([200, 487], ["INVITE"])


def test_a_pending_request_gets_487_when_the_dialog_ends_s12():
    story = Story()
    event = story.established()
    story.say(story.invite())
    story.events()
    story.endpoint.hang_up(event.session, "over", story.now)
    heard = story.hear()
    assert (statuses(heard), methods(heard)) == ([487], ["BYE"])
    assert [type(event) for event in story.events()] == [Withdrawn]
    story.wait(70)
    assert len(story.endpoint._context.servers) == 0


def test_a_late_200_is_acknowledged_on_its_own_branch_s34():
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (invite,) = story.hear()
    story.endpoint.hang_up(event.session, "", story.now)
    (bye,) = story.hear()
    story.say(story.reply(bye, 200))
    (ack,) = story.say(story.reply(invite, 200, body=OFFER))
    assert (ack.method, ack.uri, ack.cseq.number) == ("ACK", invite.uri, invite.cseq.number)
    assert ack.via.branch != invite.via.branch


def test_the_session_interval_counts_from_the_200_s27():
    story = Story()
    story.established("Supported: timer", "Session-Expires: 90")
    story.say(story.invite("Supported: timer", "Session-Expires: 90"))
    (asked,) = story.events()
    story.wait(20)
    story.endpoint.accept(asked.token, ANSWER, story.now)
    story.hear()
    story.say(story.request("ACK"))
    assert methods(story.wait(59)) == []
    assert methods(story.wait(2)) == ["BYE", "BYE"]


def test_a_picture_is_asked_for_by_info_if_allowed_r26():
    for status in (200, 404, 481, 501, None):
        story = Story()
        event = story.established("Allow: INVITE, ACK, BYE, INFO")
        assert story.endpoint.ask_picture(event.session, story.now)
        (asked,) = story.hear()
        assert (asked.method, asked.headers.get("Content-Type")) == ("INFO", "application/media_control+xml")
        assert b"<picture_fast_update/>" in asked.body
        if status:
            story.say(story.reply(asked, status))
        story.wait(40)
        assert story.events() == []
        assert statuses(story.say(story.request("BYE"))) == []
    story = Story()
    event = story.established("Allow: INVITE, ACK, BYE")
    assert not story.endpoint.ask_picture(event.session, story.now)


def test_a_probes_refusal_does_not_end_the_dialog():
    for status in (200, 405, 481, 408):
        story = Story()
        event = story.established()
        assert story.endpoint.probe(event.session, story.now)
        assert not story.endpoint.probe(event.session, story.now)
        (question,) = story.hear()
        assert (question.method, question.body) == ("OPTIONS", b"")
        assert story.numbered[-1:] == [] or story.numbered[-1] == event.session
        story.say(story.reply(question, status))
        assert story.events() == [Probed(event.session, status)]
        assert statuses(story.say(story.request("UPDATE"))) == [200]
        assert story.endpoint.probe(event.session, story.now)


def test_a_peer_that_takes_update_is_asked_by_that():
    """Some answer an OPTIONS of any dialog."""
    story = Story()
    event = story.established("Allow: INVITE, ACK, BYE, UPDATE", "Supported: timer", "Session-Expires: 1800")
    for status, asks in ((200, "UPDATE"), (481, "UPDATE"), (501, "UPDATE"), (200, "OPTIONS")):
        story.endpoint.probe(event.session, story.now)
        (question,) = story.hear()
        assert (question.method, question.body) == (asks, b"")
        assert asks == "OPTIONS" or question.headers.get("Session-Expires") == "1800;refresher=uas"
        story.say(story.reply(question, status))
        assert story.events() == [Probed(event.session, status)]


def test_an_unanswered_probe_is_reported_as_408():
    story = Story()
    event = story.established()
    story.endpoint.probe(event.session, story.now)
    heard = story.hear() + story.wait(33)
    assert set(methods(heard)) == {"OPTIONS"}
    assert story.events() == [Probed(event.session, 408)]
    assert statuses(story.say(story.request("UPDATE"))) == [200]


def test_no_probe_goes_out_before_the_ack_or_after_the_end():
    story = Story()
    event = story.invited()
    assert not story.endpoint.probe(event.session, story.now)
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.learn(story.hear()[0])
    assert not story.endpoint.probe(event.session, story.now)
    story.say(story.request("ACK"))
    assert story.endpoint.probe(event.session, story.now)
    (question,) = story.hear()
    story.endpoint.hang_up(event.session, "", story.now)
    story.hear()
    story.events()
    story.say(story.reply(question, 481))
    assert story.events() == []
    assert not story.endpoint.probe("nobody", story.now)
