"""What a response copies and where it goes."""

from typing import Any

import pytest

from sip.message.header_values import Flow
from sip.message.message import Request, parse
from sip.transaction.response import Reply, reply_flow, sent_by_port, steady_tag, tagged
from tests.sip.memory_client import UDP, Story


def options(*lines: str) -> Any:
    """A request of a client."""
    return parse(Story().request("OPTIONS", *lines))


def changed(old: bytes, new: bytes) -> Any:
    """The same with other bytes."""
    return parse(Story().request("OPTIONS").replace(old, new))


def test_the_copied_fields_are_those_of_the_request():
    request = options("Subject: private")
    answer = parse(Reply.to_request(request, UDP, "t1").compose(200))
    for name in ("From", "Call-ID", "CSeq"):
        assert answer.headers.get(name) == request.headers.get(name)
    assert answer.headers.get("To") == "<sip:rec@192.0.2.10>;tag=t1"
    assert "Subject" not in answer.headers


@pytest.mark.parametrize(
    ("status", "lines", "stamps"),
    [
        (100, ["Timestamp: 54.21"], ["54.21 0.2"]),
        (100, ["Timestamp:  54.21 0.1"], ["54.21 0.2"]),
        (100, [], []),
        (100, ["Timestamp:"], []),
        (200, ["Timestamp: 54.21"], []),
    ],
)
def test_a_100_echoes_the_timestamp_and_its_delay_s1(status, lines, stamps):
    reply = Reply.to_request(options(*lines), UDP, "t1")
    answer = parse(reply.trying(0.2) if status == 100 else reply.compose(status))
    assert answer.headers.all("Timestamp") == stamps


def test_a_tag_is_only_added_where_there_is_none():
    assert tagged("<sip:a@b>", "x") == "<sip:a@b>;tag=x"
    assert tagged("sip:a@b", "x") == "sip:a@b;tag=x"
    assert tagged("<sip:a@b>;TAG=y", "x") == "<sip:a@b>;TAG=y"
    assert tagged('"open <sip:a@b>', "x") == '"open <sip:a@b>'


def test_the_source_is_written_into_the_top_via_only():
    """Duty S21."""
    flow = Flow("udp", ("2001:db8::1", 5060), ("2001:db8::9", 7000))
    request = options("Via: SIP/2.0/UDP second.example;rport")
    lines = Reply.to_request(request, flow, "t").head.split("\r\n")
    assert ";received=2001:db8::9" in lines[0]
    assert ";rport=7000" in lines[0]
    assert lines[1] == "Via: SIP/2.0/UDP second.example;rport"


def test_the_zone_of_a_link_local_source_stays_with_us_s32():
    flow = Flow("udp", ("fe80::1%eth0", 5060), ("fe80::9%eth0", 7000))
    assert ";received=fe80::9\r\n" in Reply.to_request(options(), flow, "t").head


def test_a_lie_about_the_source_is_overwritten():
    head = Reply.to_request(changed(b";rport", b";received=9.9.9.9;rport=1"), UDP, "t").head
    assert "9.9.9.9" not in head
    assert "rport=5070" in head


def test_a_damaged_request_gives_what_it_has():
    data = Reply.to_request(Request("INVITE", "sip:x"), UDP, "t").compose(400)
    assert data.startswith(b"SIP/2.0 400 Bad Request\r\n")


def test_the_way_back_is_the_source():
    """Duty S21."""
    assert reply_flow(options(), UDP) is UDP
    plain = changed(b":5070;branch=z9hG4bK-1;rport", b":6060;branch=z9hG4bK-1")
    assert reply_flow(plain, UDP).remote == ("192.0.2.1", 6060)
    assert sent_by_port(plain) == 6060
    assert reply_flow(changed(b";rport", b";maddr=9.9.9.9"), UDP).remote == UDP.remote
    stream = Flow("tcp", UDP.local, UDP.remote, 5)
    assert reply_flow(plain, stream) is stream


def test_a_steady_tag_is_the_same_only_for_a_retransmission():
    request, other = options(), changed(b"branch=z9hG4bK-1", b"branch=z9hG4bK-2")
    assert steady_tag(b"k" * 32, request) == steady_tag(b"k" * 32, request)
    assert len({steady_tag(b"k" * 32, request), steady_tag(b"k" * 32, other), steady_tag(b"j" * 32, request)}) == 3


def test_bytes_that_are_no_utf8_come_back_unchanged():
    """Duty S31."""
    request = changed(b"<sip:sbc@", b'"J\xfcrgen" <sip:sbc@')
    assert b'"J\xfcrgen"' in Reply.to_request(request, UDP, "t").compose(200)
