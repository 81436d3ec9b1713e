"""Requests of ours: BYE, re-INVITE, refresh, probes. `test_machine_dialog.py` tries them in any order."""

import pytest

from sip.message.multipart import parts_of
from sip.ua.events import Closed, Ending, Expired, Probed, Reanswered, SessionKey
from sip.ua.session import MAX_SNAPSHOTS
from tests.sip.memory_client import ANSWER, METADATA, OFFER, Story, established, methods, multipart, statuses

ASKS = "Accept: application/sdp, application/rs-metadata-request"


@pytest.mark.parametrize("status", [200, 405, 481])
def test_we_hang_up_and_any_answer_closes(status):
    """Duty R30."""
    story = established()
    (bye,) = story.hang_up("erasure")
    assert (bye.method, bye.uri) == ("BYE", "sip:sbc@192.0.2.1:5070")
    assert bye.headers.get("Reason") == 'SIP;cause=200;text="erasure"'
    story.say(story.reply(bye, status))
    assert story.events() == [Closed(story.session)]


def test_our_bye_waits_for_the_ack_and_is_retransmitted():
    story = Story()
    story.answered()
    assert story.hang_up() == []
    byes = story.say(story.request("ACK")) + story.wait(33)
    assert methods(byes) == ["BYE"] * 11
    assert story.events()[-1] == Closed(story.session)


def test_messages_name_an_address_the_peer_can_reach():
    story, ours = Story(contact_host="198.51.100.9"), "<sip:198.51.100.9:5060;transport=udp>;+sip.srs"
    answer = story.answered()
    story.say(story.request("ACK"))
    (invite,) = story.reoffer()
    assert [each.headers.get("Contact") for each in (answer, invite)] == [ours, ours]


def test_our_reinvite_is_acknowledged_and_reported():
    story = established()
    (invite,) = story.reoffer()
    assert (invite.method, invite.body) == ("INVITE", ANSWER)
    assert "+sip.srs" in invite.headers.get("Contact")
    accepted = story.reply(invite, 200, "Contact: <sip:new@192.0.2.1:5070>", body=OFFER)
    for events in ([Reanswered(story.session, 200, OFFER, None, ANSWER)], []):
        assert methods(story.say(accepted)) == ["ACK"]
        assert story.events() == events


def test_copies_of_a_refusal_are_acknowledged_for_32_seconds():
    """Timer D over UDP (RFC 3261 section 17.1.1.2); at 40 s the transaction is over."""
    story = established()
    (invite,) = story.reoffer()
    refused = story.reply(invite, 488)
    for waited, answered in ((0, ["ACK"]), (6, ["ACK"]), (20, ["ACK"]), (14, [])):
        story.wait(waited)
        assert methods(story.say(refused)) == answered, waited


def test_our_offer_is_retried_after_491_until_theirs_comes_s10():
    story = established()
    (first,) = story.reoffer()
    assert methods(story.say(story.reply(first, 491))) == ["ACK"]
    (second, *copies) = story.wait(2.0)
    assert set(methods([second, *copies])) == {"INVITE"} and second.cseq.number == first.cseq.number + 1
    story.say(story.reply(second, 491))
    story.say(story.invite())
    story.answer(story.events()[-1])
    story.say(story.request("ACK"))
    assert story.wait(10) == []


@pytest.mark.parametrize("status", [408, 481])
def test_a_peer_that_lost_the_dialog_ends_it(status):
    """Duty S10."""
    story = established()
    (invite,) = story.reoffer()
    story.say(story.reply(invite, status))
    assert story.events() == [Expired(story.session, Ending.DIALOG_GONE), Closed(story.session)]


def test_a_session_ends_unless_the_client_refreshes_it():
    """Duties F10, R25, S27."""
    story = established("Supported: timer", "Session-Expires: 1800")
    story.wait(1500)
    (answer,) = story.say(story.request("UPDATE", "Supported: timer", "Session-Expires: 1800;refresher=uac"))
    assert answer.headers.get("Session-Expires") == "1800;refresher=uac"
    assert answer.headers.get("Require") == "timer"
    assert story.wait(1767) == []
    story.events()
    assert set(methods(story.wait(2))) == {"BYE"}
    assert story.events() == [Expired(story.session, Ending.TIMER)]


def test_a_snapshot_is_asked_for_by_update_if_allowed_r20_r21():
    """Duties R3, X17."""
    story = established(ASKS, "Allow: INVITE, UPDATE")
    assert story.endpoint.ask_snapshot(story.session, "metadata damaged\r\nX: y", story.now)
    assert (story.events(), story.numbered) == ([], [story.session])
    saved = story.endpoint.export(story.session)  # the number is saved before it is sent
    (update,) = story.hear()
    assert saved["local_cseq"] == update.cseq.number
    assert (update.method, update.headers.get("Content-Type")) == ("UPDATE", "application/rs-metadata-request")
    assert update.headers.get("Content-Disposition") == "recording-session"
    assert update.body == b"SRS-Reason: metadata damagedX y\r\n"
    assert "+sip.srs" in update.headers.get("Contact")
    assert story.say(story.reply(update, 200)) == story.events() == []
    story.hang_up()
    story.events()
    assert story.numbered == [story.session], "a session that ends has no successor"


def test_a_snapshot_is_asked_for_by_reinvite_without_update():
    story = established(ASKS)
    assert story.endpoint.ask_snapshot(story.session, "no base", story.now)
    (invite,) = story.hear()
    found = parts_of(invite.headers, invite.body)
    assert [part.media_type.essence for part in found] == ["application/sdp", "application/rs-metadata-request"]
    assert (found[0].body, found[1].disposition) == (ANSWER, "recording-session")
    assert methods(story.say(story.reply(invite, 200, body=OFFER))) == ["ACK"]
    assert not story.endpoint.ask_snapshot(SessionKey("unknown"), "", story.now)


@pytest.mark.parametrize(("accept", "times"), [("Accept: application/sdp", 0), (ASKS, MAX_SNAPSHOTS)])
def test_a_snapshot_is_requested_a_few_times_if_accepted_r20(accept, times):
    story = established(accept, "Allow: INVITE, UPDATE")
    assert sum(story.endpoint.ask_snapshot(story.session, "damaged", story.now) for _ in range(20)) == times


def test_an_unreachable_contact_gives_way_to_the_last_source():
    story = established(contact="<sip:sbc@10.0.0.1:5060>;+sip.src")
    story.hang_up()
    remotes = [story.sent[0].flow.remote]
    while remotes[-1] != story.flow.remote and len(remotes) < 30:
        story.now = story.endpoint.next_timer() or 0.0
        story.endpoint.handle_timer(story.now)
        remotes += [item.flow.remote for item in story.endpoint.data_to_send() if item.data]
    assert set(remotes[:-1]) == {("10.0.0.1", 5060)} and remotes[-1] == story.flow.remote
    assert story.now < 1030.0


def test_metadata_in_answers_to_our_requests_are_used_r17():
    story = established()
    (invite,) = story.reoffer()
    body, kind = multipart()
    head = story.reply(invite, 200, f"Content-Type: {kind}")
    story.say(head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(body)) + body)
    informed, answered = story.events()
    assert (informed.metadata, informed.method) == (METADATA, "INVITE")
    assert (answered.sdp, answered.metadata) == (OFFER, METADATA)


def test_an_offer_made_while_another_is_open_follows_it():
    story = established()
    (first,) = story.reoffer(ANSWER + b"a=inactive\r\n")
    assert story.reoffer() == []
    ack, second = story.say(story.reply(first, 200, body=OFFER))
    assert (ack.method, second.method, second.body) == ("ACK", "INVITE", ANSWER)


def test_a_late_200_is_acknowledged_on_its_own_branch_s34():
    story = established()
    (invite,) = story.reoffer()
    (bye,) = story.hang_up()
    story.say(story.reply(bye, 200))
    (ack,) = story.say(story.reply(invite, 200, body=OFFER))
    assert (ack.method, ack.uri, ack.cseq.number) == ("ACK", invite.uri, invite.cseq.number)
    assert ack.via.branch != invite.via.branch


@pytest.mark.parametrize("status", [200, 404, 481, 501, None])
def test_a_picture_is_asked_for_by_info_if_allowed_r26(status):
    story = established("Allow: INVITE, ACK, BYE, INFO")
    assert story.endpoint.ask_picture(story.session, story.now)
    (asked,) = story.hear()
    assert (asked.method, asked.headers.get("Content-Type")) == ("INFO", "application/media_control+xml")
    assert b"<picture_fast_update/>" in asked.body
    if status:
        story.say(story.reply(asked, status))
    story.wait(40)
    assert story.events() == []
    assert statuses(story.say(story.request("UPDATE"))) == [200]
    other = established("Allow: INVITE, ACK, BYE")
    assert not other.endpoint.ask_picture(other.session, other.now)


def test_a_probes_refusal_does_not_end_the_dialog():
    story = established()
    for status in (200, 405, 481, 408, None):
        assert [story.endpoint.probe(story.session, story.now) for _ in range(2)] == [True, False]
        (question,) = story.hear()
        assert (question.method, question.body) == ("OPTIONS", b"")
        if status:
            story.say(story.reply(question, status))
        else:
            assert set(methods(story.wait(33))) == {"OPTIONS"}
        assert story.events() == [Probed(story.session, status or 408)]
        assert statuses(story.say(story.request("UPDATE"))) == [200]
        story.events()


def test_a_peer_that_takes_update_is_asked_by_that():
    """Some answer an OPTIONS of any dialog."""
    story = established("Allow: INVITE, ACK, BYE, UPDATE", "Supported: timer", "Session-Expires: 1800")
    for status, asks in ((200, "UPDATE"), (481, "UPDATE"), (501, "UPDATE"), (200, "OPTIONS")):
        story.endpoint.probe(story.session, story.now)
        (question,) = story.hear()
        assert (question.method, question.body) == (asks, b"")
        assert asks == "OPTIONS" or question.headers.get("Session-Expires") == "1800;refresher=uas"
        story.say(story.reply(question, status, "Session-Expires: 1800;refresher=uas"))
        assert story.events() == [Probed(story.session, status)]


def test_no_probe_goes_out_before_the_ack_or_after_the_end():
    story = Story()
    event = story.invited()
    assert not story.endpoint.probe(event.session, story.now)
    story.answer(event)
    assert not story.endpoint.probe(event.session, story.now)
    story.say(story.request("ACK"))
    assert story.endpoint.probe(event.session, story.now)
    (question,) = story.hear()
    story.hang_up()
    story.events()
    story.say(story.reply(question, 481))
    assert story.events() == []
    assert not story.endpoint.probe(SessionKey("nobody"), story.now)


@pytest.mark.parametrize(("allow", "method"), [("INVITE, UPDATE", "UPDATE"), ("INVITE", "INVITE")])
def test_a_refused_refresh_is_tried_again_in_time(allow, method):
    """RFC 4028: the client leaves the session timer to us."""
    story = established("Supported: timer", f"Allow: {allow}", "Session-Expires: 600;refresher=uas")
    (first,) = story.wait(300)
    story.say(story.reply(first, 500))
    (second,) = [m for m in story.wait(134) if m.method == method]  # halfway to 568, where it would end
    assert second.cseq.number == first.cseq.number + 1
    story.say(story.reply(second, 200, body=ANSWER if method == "INVITE" else b""))
    assert "BYE" not in methods(story.wait(290))


def test_where_update_is_refused_we_refresh_by_reinvite():
    story = established("Supported: timer", "Allow: INVITE, UPDATE", "Session-Expires: 600;refresher=uas")
    (update,) = story.wait(300)
    assert (update.method, update.headers.get("Session-Expires")) == ("UPDATE", "600;refresher=uac")
    (invite,) = story.say(story.reply(update, 405))
    assert (invite.method, invite.body) == ("INVITE", ANSWER)
