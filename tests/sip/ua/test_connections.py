"""TCP and TLS connections of an endpoint."""

import pytest

from sip.ua.events import Close, Dropped, Send
from tests.sip.memory_client import ANSWER, OFFER, TCP, TCP2, Story, established, statuses


def closed_after(story: Story, seconds: float) -> bool:
    """Return whether all that is done at that time is to close the connection."""
    story.now += seconds
    story.endpoint.handle_timer(story.now)
    return [type(item) for item in story.endpoint.data_to_send()] == [Close]


def test_a_request_without_length_gets_its_own_refusal():
    story = Story(TCP)
    unknown = story.invite("Require: foo")
    head, _, body = unknown.partition(b"\r\n\r\n")
    assert statuses(story.say(head.rpartition(b"\r\n")[0] + b"\r\n\r\n" + body)) == [420]
    assert isinstance(story.sent[-1], Close)


def test_a_message_that_stays_unfinished_is_cut_off():
    """Duty S36."""
    story = Story(TCP)
    story.say(b"INVITE sip:x SIP/2.0\r\nVia: ")
    story.wait(10)
    story.say(b"S")
    assert closed_after(story, 10.1)
    assert story.events() == [Dropped(TCP, "slow-message")]


def test_extra_line_ends_after_a_message_are_ignored():
    """Duty S19."""
    story = Story(TCP)
    for blanks in (b"\r\n", b"\r", b"\r\n\r"):
        assert statuses(story.say(story.request("OPTIONS") + blanks)) == [200]
        story.wait(100)
    assert statuses(story.say(b"\n" + story.request("OPTIONS"))) == [200]
    assert story.events() == []  # each connection that is given up is an event


@pytest.mark.parametrize("rest", [b"only", b"recording>", b"--b--", b"1 2 IN", b"a=sendonly", b"a=sendonly\r\n"])
def test_what_is_left_of_a_body_closes_the_connection(rest):
    """Duty S18: the Content-Length was too short."""
    story = Story(TCP)
    assert statuses(story.say(story.request("OPTIONS") + rest)) == [200]
    assert closed_after(story, 0.6)


@pytest.mark.parametrize("begun", [b"I", b"OPTIONS sip:a@b", b"SIP", b"SIP/2.0 20", b"OPTIONS a SIP/2.0\r\nVi"])
def test_a_message_may_come_in_pieces_seconds_apart(begun):
    story = Story(TCP)
    story.say(begun)
    assert story.wait(15) == story.sent == []


@pytest.mark.parametrize("taken", [b"Via", b" SIP/2.0/TCP", b"branch", b"From"])
def test_a_too_long_content_length_ends_the_connection(taken):
    """Duty S18: what is left begins no message, and there is nobody to be answered."""
    story = Story(TCP)
    message = story.request("OPTIONS")
    longer = message.replace(b"Content-Length: 0", b"Content-Length: %d" % message.index(taken))
    assert len(story.say(longer + message + message)) == 1
    assert [type(item) for item in story.sent] == [Send, Close]
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
    story = established(flow=TCP)
    story.lose(TCP)
    story.connect(TCP2)
    assert statuses(story.say(story.request("UPDATE"))) == [200]
    assert story.sent[0].flow == TCP2
    story.hang_up()
    assert story.sent[0].flow == TCP2


def test_the_200_follows_a_client_to_its_new_connection():
    """Duty S21."""
    story = Story(TCP)
    invite = story.invite()
    story.say(invite)
    (event,) = story.events()
    story.lose(TCP)
    story.connect(TCP2)
    story.say(invite)
    story.answer(event)
    assert [item.flow for item in story.sent] == [TCP2]
    story.wait(0.6)
    assert [item.flow for item in story.sent] == [TCP2]


def test_without_a_connection_our_bye_goes_to_the_contact():
    story = established(contact="<sip:sbc@192.0.2.7:5099;transport=tcp>;+sip.src", flow=TCP)
    story.lose(TCP)
    story.hang_up()
    flow = story.sent[0].flow
    assert (flow.transport, flow.remote, flow.connection) == ("tcp", ("192.0.2.7", 5099), 0)


def test_a_long_request_goes_by_tcp_and_falls_back_to_udp():
    """Duty S22."""
    story = established()
    story.reoffer(ANSWER + b"a=x:" + b"y" * 1300 + b"\r\n")
    tried = story.sent[0].flow
    assert tried.transport == "tcp"
    (invite,) = story.lose(tried)
    assert (story.sent[0].flow.transport, invite.via.transport) == ("udp", "UDP")


def test_the_200_is_resent_over_a_new_connection_s2_s21():
    story = Story(TCP)
    story.answered()
    story.lose(TCP)
    assert statuses(story.wait(0.6)) == [200]
    (sent,) = story.sent
    assert (sent.flow.connection, sent.flow.remote) == (0, TCP.remote)


def test_our_ack_avoids_a_broken_connection_s34():
    story = established(flow=TCP)
    (invite,) = story.reoffer()
    ok = story.reply(invite, 200, body=OFFER)
    story.say(ok)
    story.lose(TCP)
    story.connect(TCP2)
    (ack,) = story.say(ok)
    assert ack.method == "ACK"
    assert [item.flow.remote for item in story.sent] == [("192.0.2.1", 5070)]
