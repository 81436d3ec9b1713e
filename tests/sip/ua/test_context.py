"""What all parts share: ways, tokens, our address."""

from typing import Any

import pytest

from sip.message.header_values import Flow
from sip.message.message import parse
from sip.ua.context import Context, contact
from sip.ua.dialog import Dialog
from sip.ua.events import Dropped, Send, SessionKey
from sip.ua.session import Session
from sip.ua.settings import Settings
from tests.sip.memory_client import TCP, Noise, Story


def made(flow=TCP, **kw):
    context = Context(Settings(), Noise())
    request: Any = parse(Story().invite(**kw))
    dialog = Dialog.accept(request, "<sip:rec@x>;tag=us", "us")
    session = Session(SessionKey("us"), dialog, flow, 1, context.timers)
    context.sessions.add(session)
    return context, session


def test_bytes_for_a_broken_connection_go_to_the_listening_port():
    context, _ = made()
    context.send(TCP, b"x", 5062)
    assert context.out == [Send(Flow("tcp", TCP.local, ("192.0.2.1", 5062)), b"x")]
    context.out.clear()
    context.send(TCP, b"x")
    assert context.out == []
    assert list(context.events) == [Dropped(TCP, "connection-gone")]
    context.connections[1] = TCP
    context.send(TCP, b"x", 5062)
    assert context.out == [Send(TCP, b"x")]


def test_our_contact_has_the_tag_outside_the_brackets():
    v6 = Flow("tls", ("fe80::1%eth0", 5061), ("fe80::2", 1), 3)
    assert contact(made(v6)[1]) == "<sip:[fe80::1]:5061;transport=tls>;+sip.srs"
    assert contact(made(v6, uri="sips:r@x")[1]).startswith("<sips:[fe80::1]:5061")


@pytest.mark.parametrize(
    ("local", "advertised", "host"),
    [
        ("10.0.0.7", "198.51.100.9", "198.51.100.9:5061"),
        ("10.0.0.7", "2001:db8::9", "10.0.0.7:5061"),
        ("fd00::7", "2001:db8::9", "[2001:db8::9]:5061"),
        ("fd00::7", "198.51.100.9", "[fd00::7]:5061"),
    ],
)
def test_our_contact_behind_nat_has_the_same_ip_version(local, advertised, host):
    _, session = made(Flow("tls", (local, 5061), ("192.0.2.1", 1), 3))
    assert contact(session, advertised) == f"<sip:{host};transport=tls>;+sip.srs"
