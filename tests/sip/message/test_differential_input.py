"""What peers send, read by us and by others: sipmessage, aiosipua and sdp-transform agree wherever they are right.

Where they are wrong is written down as a test too, at the end: when one of them mends it, it may be asked more.
"""

from __future__ import annotations

from typing import Any

import aiosipua
import sdp_transform  # type: ignore[import-untyped]  # it says no types
import sipmessage
from hypothesis import given
from hypothesis import strategies as st

from sip.message.header_values import NameAddr, Via
from sip.message.message import Request, parse
from sip.sdp.description import SessionDescription

WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=10)
HOST = st.one_of(WORD.map(lambda word: f"{word}.example"), st.ip_addresses(v=4).map(str))
PORT = st.one_of(st.just(""), st.integers(1, 65_535).map(lambda port: f":{port}"))
TRANSPORT = st.sampled_from(("UDP", "TCP", "TLS"))
VIA = st.tuples(TRANSPORT, HOST, PORT, WORD).map(lambda v: f"SIP/2.0/{v[0]} {v[1]}{v[2]};branch=z9hG4bK{v[3]}")
ADDRESS = st.tuples(WORD, WORD, HOST, PORT).map(lambda v: f'"{v[0]}, {v[0]}" <sip:{v[1]}@{v[2]}{v[3]};transport=tcp>')
CODECS = st.sampled_from(("PCMU/8000", "PCMA/8000", "opus/48000/2", "G729/8000", "telephone-event/8000", "H264/90000"))
DIRECTION = st.sampled_from(("sendonly", "recvonly", "sendrecv", "inactive"))
KEY = "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Well-formed INVITEs, lists in one field or several, names long, compact or in other case."""
    vias = draw(st.lists(VIA, min_size=1, max_size=4))
    name = draw(st.sampled_from(("Via", "v", "VIA")))
    lines = [f"{name}: {', '.join(vias)}"] if draw(st.booleans()) else [f"{name}: {via}" for via in vias]
    lines += [f"{draw(st.sampled_from(('From', 'f')))}: {draw(ADDRESS)};tag={draw(WORD)}", f"t: {draw(ADDRESS)}"]
    lines += [
        f"{draw(st.sampled_from(('Call-ID', 'i')))}:{draw(WORD)}",
        f"CSeq:  {draw(st.integers(0, 2**31 - 1))} INVITE",
    ]
    lines += [f"Contact: {draw(ADDRESS)}", "Max-Forwards: 70", "Require: siprec"]
    body = draw(st.binary(max_size=40))
    return "\r\n".join(["INVITE sip:rec@example.org SIP/2.0", *lines, f"l: {len(body)}\r\n\r\n"]).encode() + body


@st.composite
def offers(draw: st.DrawFn) -> str:
    """Offers as RFC 8866 has them."""
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]
    for _ in range(draw(st.integers(1, 5))):
        secure = draw(st.booleans())
        formats = draw(st.lists(st.integers(96, 127), min_size=2, max_size=5, unique=True))
        profile = "RTP/SAVP" if secure else "RTP/AVP"
        lines.append(f"m={draw(st.sampled_from(('audio', 'video')))} {draw(st.integers(0, 65_535))} {profile} ")
        lines[-1] += " ".join(map(str, formats))
        lines += [f"c=IN IP4 {draw(st.ip_addresses(v=4))}"] if draw(st.booleans()) else []
        lines += [f"a=rtpmap:{number} {draw(CODECS)}" for number in formats]
        lines += [f"a=fmtp:{number} mode={number}" for number in formats[1:]]
        lines += [f"a=label:x{draw(WORD)}", f"a={draw(DIRECTION)}"]
        lines += [f"a=crypto:{n} AES_CM_128_HMAC_SHA1_80 inline:{KEY}" for n in range(1, 3)] if secure else []
    return "\r\n".join(lines) + "\r\n"


@given(requests())
def test_a_request_is_the_same_for_sipmessage_aiosipua_and_us(data: bytes) -> None:
    ours, theirs, others = parse(data), sipmessage.Message.parse(data), aiosipua.SipMessage.parse(data)
    assert isinstance(ours, Request)
    assert ours.body == theirs.body
    assert ours.call_id == theirs.call_id == others.call_id
    assert ours.cseq.number == theirs.cseq.sequence == others.cseq.seq
    vias = [Via.parse(text) for text in ours.headers.values("Via")]
    assert [(via.transport, via.host, via.port) for via in vias] == [(v.transport, v.host, v.port) for v in theirs.via]
    assert [via.branch for via in vias] == [via.params["branch"] for via in others.via]
    assert ours.sender.tag == theirs.from_address.parameters["tag"] == others.from_addr.tag
    for name, address in (("From", theirs.from_address), ("To", theirs.to_address), ("Contact", theirs.contact[0])):
        read = NameAddr.parse(ours.headers.get(name) or "")
        assert (read.display, read.uri) == (address.name, str(address.uri))


@given(offers())
def test_an_offer_is_the_same_for_sdp_transform_aiosipua_and_us(text: str) -> None:
    ours, theirs, others = SessionDescription.parse(text.encode()), sdp_transform.parse(text), aiosipua.parse_sdp(text)
    assert len(ours.media) == len(theirs["media"]) == len(others.media)
    for mine, their, other in zip(ours.media, theirs["media"], others.media, strict=True):
        assert (mine.kind, mine.port, mine.profile) == (their["type"], their["port"], their["protocol"])
        assert (mine.kind, mine.port, mine.profile) == (other.media, other.port, other.proto)
        assert [item.payload_type for item in mine.formats] == [int(word) for word in other.formats]
        assert [(item.payload_type, item.clock) for item in mine.formats] == by_number(mine, their)
        assert [item.fmtp for item in mine.formats[1:]] == [item["config"] for item in their["fmtp"]]
        assert mine.label == their["label"] == other.attributes["label"][0]
        assert mine.direction == their["direction"]
        assert mine.all_attributes("crypto") == [written(crypto) for crypto in their.get("crypto", ())]
        where = their.get("connection", theirs["connection"])
        assert mine.connection is not None and mine.connection.ip == where["ip"]


def by_number(mine: Any, their: Any) -> list[tuple[int, int]]:
    """Give number and clock of each format in the order of the m-line."""
    clocks = {item["payload"]: item["rate"] for item in their["rtp"]}
    return [(item.payload_type, clocks[item.payload_type]) for item in mine.formats]


def written(crypto: Any) -> str:
    """Write a crypto attribute as sdp-transform took it apart."""
    return f"{crypto['id']} {crypto['suite']} {crypto['config']}"
