"""TCP and TLS connections of an endpoint."""

from __future__ import annotations

import pytest

from sip.message.header_values import Flow
from sip.ua.events import Dropped, Invited
from tests.sip.memory_client import ANSWER, OFFER, Story, statuses

TCP = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40001), 1)
TCP2 = Flow("tcp", ("192.0.2.10", 5060), ("192.0.2.1", 40002), 2)


def test_a_stream_is_the_same_byte_by_byte():
    whole, slow = Story(TCP), Story(TCP)
    whole.say(whole.invite() + b"\r\n\r\n")
    pong = whole.sent
    for byte in slow.invite() + b"\r\n\r\n":
        slow.say(bytes([byte]))
    assert pong[-1].data == slow.sent[-1].data == b"\r\n"
    assert isinstance(whole.events()[0], Invited)
    assert isinstance(slow.events()[0], Invited)


def test_a_broken_stream_is_answered_400_and_closed():
    story = Story(TCP)
    heard = story.say(story.invite().replace(b"Content-Length: ", b"Content-Length: -"))
    assert statuses(heard) == [400]
    assert type(story.sent[-1]).__name__ == "Close"


def test_a_message_that_stays_unfinished_is_cut_off():
    """Duty S36."""
    story = Story(TCP)
    story.say(b"INVITE sip:x SIP/2.0\r\nVia: ")
    story.wait(10)
    story.say(b"S")
    story.now += 10.1
    story.endpoint.handle_timer(story.now)
    assert [type(item).__name__ for item in story.endpoint.data_to_send()] == ["Close"]
    assert story.events() == [Dropped(TCP, "slow-message")]


def test_extra_line_ends_after_a_message_are_ignored():
    """Duty S19."""
    story = Story(TCP)
    for blanks in (b"\r\n", b"\r", b"\r\n\r"):
        assert statuses(story.say(story.request("OPTIONS") + blanks)) == [200]
        story.wait(100)
    assert statuses(story.say(b"\n" + story.request("OPTIONS"))) == [200]
    assert story.events() == []  # a connection that was given up is told of


def test_a_too_short_content_length_ends_the_connection():
    """Duty S18."""
    story = Story(TCP)
    body = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\na=sendonly\r\n"
    cut = story.request("OPTIONS", body=body).replace(f"Length: {len(body)}".encode(), b"Length: 20")
    story.say(cut)
    story.hear()
    story.now += 0.6
    story.endpoint.handle_timer(story.now)
    assert [type(item).__name__ for item in story.endpoint.data_to_send()] == ["Close"]


@pytest.mark.parametrize("rest", [b"only", b"recording>", b"--b--", b"1 2 IN", b"a=sendonly"])
def test_a_leftover_without_line_end_closes_the_connection(rest):
    """Duty S18."""
    story = Story(TCP)
    assert statuses(story.say(story.request("OPTIONS") + rest)) == [200]
    story.now += 0.6
    story.endpoint.handle_timer(story.now)
    assert [type(item).__name__ for item in story.endpoint.data_to_send()] == ["Close"]


@pytest.mark.parametrize(
    "begun", [b"I", b"INVITE", b"OPTIONS sip:a@b", b"SIP", b"SIP/2.0 20", b"OPTIONS a SIP/2.0\r\nVi"]
)
def test_a_message_may_come_in_pieces_seconds_apart(begun):
    story = Story(TCP)
    story.say(begun)
    story.now += 15
    story.endpoint.handle_timer(story.now)
    assert list(story.endpoint.data_to_send()) == []


@pytest.mark.parametrize("taken", [b"Via", b" SIP/2.0/TCP", b"branch", b"From"])
def test_a_too_long_content_length_ends_the_connection(taken):
    """Duty S18: what is left begins no message, and there is nobody to be answered."""
    story = Story(TCP)
    message = story.request("OPTIONS")
    longer = message.replace(b"Content-Length: 0", b"Content-Length: %d" % message.index(taken))
    assert len(story.say(longer + message + message)) == 1
    assert [type(item).__name__ for item in story.sent] == ["Send", "Close"]
    (dropped,) = story.events()[1:]
    assert isinstance(dropped, Dropped)


def test_a_damaged_response_is_ignored():
    story = Story(TCP)
    strange = story.request("OPTIONS").replace(b"OPTIONS sip:rec@192.0.2.10 SIP/2.0", b"SIP/2.0 4294967301 better")
    assert strange.startswith(b"SIP/2.0 4294967301")
    assert statuses(story.say(strange + story.request("OPTIONS"))) == [200]


def test_a_line_that_begins_no_message_gets_400():
    story = Story(TCP)
    whole = story.request("OPTIONS").replace(b" SIP/2.0\r\nVia", b"\r\nVia")
    assert story.say(whole[:100]) == []
    assert statuses(story.say(whole[100:])) == [400]


def test_the_dialog_survives_its_connection():
    """Duty F10."""
    story = Story(TCP)
    event = story.established()
    story.endpoint.connection_lost(TCP, story.now)
    story.endpoint.connection_made(TCP2, story.now)
    assert statuses(story.say(story.request("UPDATE"), TCP2)) == [200]
    assert story.sent[0].flow == TCP2
    story.endpoint.hang_up(event.session, "", story.now)
    story.hear()
    assert story.sent[0].flow == TCP2


def test_the_200_follows_a_client_to_its_new_connection():
    """Duty S21."""
    story = Story(TCP)
    invite = story.invite()
    story.say(invite)
    (event,) = story.events()
    story.endpoint.connection_lost(TCP, story.now)
    story.endpoint.connection_made(TCP2, story.now)
    story.say(invite, TCP2)
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.hear()
    assert [item.flow for item in story.sent] == [TCP2]
    story.wait(0.6)
    assert [item.flow for item in story.sent] == [TCP2]


def test_without_a_connection_our_bye_goes_to_the_contact():
    story = Story(TCP)
    event = story.established(contact="<sip:sbc@192.0.2.7:5099;transport=tcp>;+sip.src")
    story.endpoint.connection_lost(TCP, story.now)
    story.endpoint.hang_up(event.session, "", story.now)
    story.hear()
    flow = story.sent[0].flow
    assert (flow.transport, flow.remote, flow.connection) == ("tcp", ("192.0.2.7", 5099), 0)


def test_a_long_request_goes_by_tcp_and_falls_back_to_udp():
    """Duty S22."""
    story = Story()
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER + b"a=x:" + b"y" * 1300 + b"\r\n", story.now)
    story.hear()
    tried = story.sent[0].flow
    assert tried.transport == "tcp"
    story.endpoint.connection_lost(tried, story.now)
    (invite,) = story.hear()
    assert (story.sent[0].flow.transport, invite.via.transport) == ("udp", "UDP")


def test_the_200_is_resent_over_a_new_connection_s2_s21():
    story = Story(TCP)
    event = story.invited()
    story.endpoint.accept(event.token, ANSWER, story.now)
    story.hear()
    story.endpoint.connection_lost(TCP, story.now)
    assert statuses(story.wait(0.6)) == [200]
    (sent,) = story.sent
    assert (sent.flow.connection, sent.flow.remote) == (0, TCP.remote)


def test_our_ack_avoids_a_broken_connection_s34():
    story = Story(TCP)
    event = story.established()
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    (invite,) = story.hear()
    ok = story.reply(invite, 200, body=OFFER)
    story.say(ok)
    story.endpoint.connection_lost(TCP, story.now)
    story.endpoint.connection_made(TCP2, story.now)
    (ack,) = story.say(ok, TCP2)
    assert ack.method == "ACK"
    assert [item.flow.remote for item in story.sent] == [("192.0.2.1", 5070)]
