"""Transactions with their timers, without sessions."""

from dataclasses import replace
from typing import Any

import pytest

from sip.message.message import parse
from sip.transaction.layer import ClientTransactions, ServerTransactions, server_key
from sip.transaction.timers import Timers
from tests.sip.memory_client import TCP as CONNECTION
from tests.sip.memory_client import UDP, Story, methods

TCP = replace(CONNECTION, remote=UDP.remote)
INVITE = ("b", "h", "INVITE")
RETRANSMITTED = [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


class Wire:
    """Transactions on a clock of our own."""

    def __init__(self):
        self.timers, self.sent, self.now, self.late = Timers(), [], 0.0, []
        self.servers = ServerTransactions(self.timers, self.send)
        self.clients = ClientTransactions(self.timers, self.send)

    def send(self, flow, data, port=0):
        self.sent.append((round(self.now, 3), flow.transport, data))

    def invited(self, flow=UDP):
        return self.servers.begin(INVITE, flow, 5060, None, None, 0.0)

    def times(self):
        return [at for at, _, _ in self.sent]

    def run(self, until):
        while (at := self.timers.next()) is not None and (due := self.timers.pop(min(at, until))):
            (kind, key), letter = due
            self.now = at
            if kind == "server":
                self.servers.fire(key, letter, self.now)
            elif late := self.clients.fire(key, letter, self.now):
                self.late.append(late)
        self.now = until


def key(data, method):
    request: Any = parse(data)
    return server_key(request, method)


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
    story.answer(event)
    heard = story.say(story.invite(branch="z9hG4bK-1", cseq=1, to="<sip:rec@192.0.2.10>"), other)
    assert [each.call_id for each in heard] in ([], ["mine"])
    story.call_id = call
    story.say(story.request("ACK", cseq=1))
    assert methods(story.reoffer()) == ["INVITE"]
    assert story.sent[0].flow == TCP


@pytest.mark.parametrize("branch", ["old", "z9hG4bK"])
def test_without_the_cookie_the_old_rules_hold(branch):
    """Duty S4."""
    story = Story()
    invite = story.invite(branch=branch)
    assert key(story.request("ACK", branch=branch, to="<sip:r@x>;tag=9"), "INVITE") == key(invite, "INVITE")
    assert key(story.invite(branch=branch), "INVITE") != key(invite, "INVITE")


@pytest.mark.parametrize(("flow", "times"), [(UDP, RETRANSMITTED), (TCP, [0])])
def test_timer_g_doubles_up_to_four_seconds_and_h_ends_it(flow, times):
    """Duty S1: on a stream a final response is sent once."""
    wire = Wire()
    wire.servers.respond(wire.invited(flow), 486, b"final", 0.0)
    wire.run(40.0)
    assert wire.times() == times
    assert (len(wire.servers), wire.timers.next()) == (0, None)


@pytest.mark.parametrize(("trying", "times"), [(False, 1), (True, 12)])
def test_an_unverified_sender_gets_no_retransmissions(trying, times):
    """RFC 3261 section 26.3.2.4: the address on a datagram may be that of a third party."""
    wire = Wire()
    wire.servers.repeat_only_to(lambda flow: False)
    transaction = wire.invited()
    if trying:
        wire.servers.respond(transaction, 100, b"100", 0.0)
    wire.servers.respond(transaction, 401, b"final", 0.0)
    wire.run(31.9)
    assert len(wire.sent) == times
    wire.servers.repeat(transaction, UDP, 31.9)
    assert len(wire.sent) == times + 1
    wire.run(40.0)
    assert (len(wire.servers), wire.timers.next()) == (0, None)
