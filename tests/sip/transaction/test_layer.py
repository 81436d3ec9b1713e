"""Transactions with their timers, without sessions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sip.message.header_values import Flow
from sip.message.message import parse
from sip.transaction.layer import ClientTransactions, ServerTransactions, server_key
from sip.transaction.timers import Timers
from tests.sip.memory_client import ANSWER, UDP, Story, methods

TCP = Flow("tcp", UDP.local, UDP.remote, 1)


class Wire:
    """Transactions on a clock of our own."""

    def __init__(self):
        self.timers, self.sent, self.now, self.late = Timers(), [], 0.0, []
        self.servers = ServerTransactions(self.timers, self.send)
        self.clients = ClientTransactions(self.timers, self.send)

    def send(self, flow, data, port=0):
        self.sent.append((round(self.now, 3), flow.transport, data))

    def run(self, until):
        while (at := self.timers.next()) is not None and at <= until:
            self.now = at
            (kind, key), letter = self.timers.pop(at)
            if kind == "server":
                self.servers.fire(key, letter, at)
            elif late := self.clients.fire(key, letter, at):
                self.late.append(late)
        self.now = until


def key(data, method):
    return server_key(parse(data), method)


def test_ack_and_cancel_find_their_invite_by_the_branch():
    """Duty S4."""
    story = Story()
    invite = story.invite(branch="z9hG4bKq")
    assert key(story.request("CANCEL", branch="z9hG4bKq"), "INVITE") == key(invite, "INVITE")
    assert key(story.request("ACK", branch="z9hG4bKq", to="<sip:r@x>;tag=9"), "INVITE") == key(invite, "INVITE")
    assert key(story.request("BYE", branch="z9hG4bKq"), "BYE") != key(invite, "INVITE")


def test_another_client_gains_nothing_by_a_guessed_branch_s4():
    """Devices count them; the answer holds our keys, and where its repetition came from the dialog goes on."""
    story = Story(TCP)
    other = replace(TCP, remote=("198.51.100.66", 50000), connection=9)
    story.endpoint.connection_made(other, 0.0)
    event = story.invited(branch="z9hG4bK-1")
    call, story.call_id = story.call_id, "mine"
    assert [each.status for each in story.say(story.request("CANCEL", branch="z9hG4bK-1"), other)] == [481]
    assert story.endpoint.accept(event.token, ANSWER, story.now)
    (answer,) = story.hear()
    heard = story.say(story.invite(branch="z9hG4bK-1", cseq=1), other)
    assert [each.call_id for each in heard] in ([], ["mine"])
    story.call_id = call
    story.learn(answer)
    story.say(story.request("ACK", cseq=1))
    story.endpoint.reoffer(event.session, ANSWER, story.now)
    assert methods(story.hear()) == ["INVITE"]
    assert story.sent[0].flow == TCP


@pytest.mark.parametrize("branch", ["old", "z9hG4bK"])
def test_without_the_cookie_the_old_rules_hold(branch):
    """Duty S4."""
    story = Story()
    invite = story.invite(branch=branch)
    assert key(story.request("ACK", branch=branch, to="<sip:r@x>;tag=9"), "INVITE") == key(invite, "INVITE")
    assert key(story.invite(branch=branch), "INVITE") != key(invite, "INVITE")


def test_timer_g_doubles_up_to_four_seconds_and_h_ends_it():
    """Duty S1."""
    wire = Wire()
    transaction = wire.servers.begin(("b", "h", "INVITE"), UDP, 5060, None, None, 0.0)
    wire.servers.respond(transaction, 486, b"final", 0.0)
    wire.run(40.0)
    assert [at for at, _, _ in wire.sent] == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert len(wire.servers) == 0
    assert len(wire.timers) == 0


@pytest.mark.parametrize(("told", "times"), [(False, 1), (True, 12)])
def test_an_unverified_sender_gets_no_retransmissions(told, times):
    """RFC 3261 section 26.3.2.4: the address on a datagram may be that of a third party."""
    wire = Wire()
    wire.servers.repeat_only_to(lambda flow: False)
    transaction = wire.servers.begin(("b", "h", "INVITE"), UDP, 5060, None, None, 0.0)
    if told:
        wire.servers.respond(transaction, 100, b"100", 0.0)
    wire.servers.respond(transaction, 401, b"final", 0.0)
    wire.run(31.9)
    assert len(wire.sent) == times
    wire.servers.repeat(transaction, UDP, 31.9)
    assert len(wire.sent) == times + 1
    wire.run(40.0)
    assert (len(wire.servers), len(wire.timers)) == (0, 0)


def test_on_a_stream_a_final_response_is_sent_once():
    wire = Wire()
    transaction = wire.servers.begin(("b", "h", "INVITE"), TCP, 5060, None, None, 0.0)
    wire.servers.respond(transaction, 486, b"final", 0.0)
    wire.run(40.0)
    assert len(wire.sent) == 1


def test_our_request_is_repeated_on_udp_and_given_up():
    wire = Wire()
    wire.clients.begin(("b", "BYE"), UDP, b"BYE", "s", (), 0.0)
    wire.run(40.0)
    assert [at for at, _, _ in wire.sent] == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert [late.session for late in wire.late] == ["s"]
    assert len(wire.clients) == 0


def test_a_broken_connection_is_replaced_during_a_transaction():
    wire = Wire()
    wire.clients.begin(("b", "BYE"), TCP, b"BYE x\r\nVia: SIP/2.0/TCP h\r\n", "s", (UDP,), 0.0)
    wire.clients.lost(TCP, 1.0)
    assert wire.sent[-1][1:] == ("udp", b"BYE x\r\nVia: SIP/2.0/UDP h\r\n")
    wire.clients.lost(TCP, 2.0)
    assert len(wire.sent) == 2


def test_an_adopted_invite_only_answers_retransmissions():
    wire = Wire()
    wire.servers.adopt(("b", "h", "INVITE"), UDP, 0, b"200", "s", 0.0)
    assert wire.sent == []
    wire.servers.repeat(wire.servers.find(("b", "h", "INVITE")), UDP, 1.0)
    assert [data for _, _, data in wire.sent] == [b"200"]
    wire.run(33.0)
    assert len(wire.servers) == 0
