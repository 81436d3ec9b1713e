"""Inputs for tests of recording sessions: requests, offers, metadata, times."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from recorder.session import events as e
from sip.message.message import Request, parse
from sip.sdp.plan import Addresses
from sip.ua.events import Token

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEYS = [bytes([65 + n]) * 30 for n in range(4)]


def now(seconds: float = 0.0) -> e.Now:
    """Return the time this many seconds after the start of the test's timeline."""
    return e.Now(NOON + timedelta(seconds=seconds), 1000.0 + seconds)


def random(size: int) -> bytes:
    """Return the same bytes each time, in place of random ones."""
    return bytes(range(1, size + 1))


def request(method: str = "INVITE", cseq: int = 1) -> Request:
    """Return a request as an SBC sends it."""
    text = (
        f"{method} sip:rec@recorder.example SIP/2.0\r\nVia: SIP/2.0/TLS sbc.example;branch=z9hG4bK{cseq}\r\n"
        f"From: <sip:sbc@sbc.example>;tag=a\r\nTo: <sip:rec@recorder.example>\r\nCall-ID: call-1\r\n"
        f"CSeq: {cseq} {method}\r\n"
        "Contact: <sip:sbc@sbc.example>;+sip.src\r\nUser-Agent: Acme SBC\r\nContent-Length: 0\r\n\r\n"
    )
    message = parse(text.encode())
    if not isinstance(message, Request):
        raise TypeError("the story's request is none")
    return message


def sdp(*directions: str, version: int = 1, media: str = "audio", suite: str = "AES_CM_128_HMAC_SHA1_80") -> bytes:
    """Return an offer with one SRTP line for each direction; "gone" is port 0, "image" a medium that we refuse."""
    lines = ["v=0", f"o=- 7 {version} IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]
    for index, direction in enumerate(directions):
        port = 0 if direction == "gone" else 30000 + 2 * index
        key = base64.b64encode(KEYS[index]).decode()
        kind = "image" if direction == "image" else media
        lines += [f"m={kind} {port} RTP/SAVP 8", f"a=label:{index + 1}", f"a=crypto:1 {suite} inline:{key}"]
        lines += [] if direction in ("gone", "image") else [f"a={direction}"]
    return ("\r\n".join(lines) + "\r\n").encode()


def metadata(*names: str, session: str = "c2Vzc2lvbi0xLS0tLS0tLQ==") -> bytes:
    """Return a complete metadata document; the n-th name speaks on label n."""
    people = "".join(
        f'<participant participant_id="p{n}"><nameID aor="sip:+4930{n}00@pbx.example"><name>{name}</name></nameID>'
        "</participant>"
        f'<participantstreamassoc participant_id="p{n}"><send>s{n}</send></participantstreamassoc>'
        f'<stream stream_id="s{n}" session_id="{session}"><label>{n}</label></stream>'
        for n, name in enumerate(names, 1)
    )
    return (
        '<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>'
        f'<session session_id="{session}"/>{people}</recording>'
    ).encode()


def offered(token: int, offer: bytes, body: bytes | None = None, cseq: int = 1) -> e.Offered:
    """Return the event of a client's offer, received over TLS."""
    return e.Offered(Token(token), request("INVITE", cseq), offer, body, True, Addresses("198.51.100.7"))


def beyond_a_message() -> bytes:
    """Return an offer too large for a message to a worker."""
    head, *media = sdp("sendonly").decode().partition("m=")
    line, types = "".join(media).replace("SAVP 8", "SAVP " + " ".join(map(str, range(96, 128)))), range(96, 128)
    names = [f"a=rtpmap:{kind} {number}-{kind}{'x' * 450}/8000\r\n" for number in range(15) for kind in types]
    return (head + "".join(line + "".join(names[n : n + 32]) for n in range(0, len(names), 32))).encode()
