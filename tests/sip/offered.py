"""Offers line by line, and what the tests of `sip.sdp.answer` ask about the answers."""

import base64
from typing import Any

import pytest

from sip.errors import NotAcceptable
from sip.sdp.answer import LinePlan, Policy, answer, plan
from sip.sdp.description import SessionDescription
from sip.sdp.sdes import SUITES
from sip.sdp.writer import write

SDES = "AES_CM_128_HMAC_SHA1_80"
PREFERRED = Policy("preferred", secure=True)
HEAD = "v=0\no=src 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"


def offered(*lines: str, head: str = HEAD) -> SessionDescription:
    return SessionDescription.parse((head + "\n".join(lines) + "\n").encode())


def written(offer: SessionDescription) -> bytes:
    """The lines of a description as they were read."""
    return write([*offer.lines, *(line for media in offer.media for line in media.lines)])


def key_line(suite: str = SDES, tag: int = 1, tail: str = "") -> str:
    return f"a=crypto:{tag} {suite} inline:{base64.b64encode(bytes([tag]) * SUITES.get(suite, 30)).decode()}{tail}"


def answered(offer: SessionDescription, plans: tuple[LinePlan, ...], **kw: Any) -> list[str]:
    """The lines of our answer."""
    ports = {line.index: 20_000 + 2 * line.index for line in plans if line.accepted}
    keys = {line.index: b"K" * SUITES[line.suite] for line in plans if line.suite}
    known: dict[str, Any] = {"address": "198.51.100.7", "ports": ports, "keys": keys, "session_id": 77, "version": 3}
    data = answer(offer, plans, **(known | kw))
    assert data.endswith(b"\r\n") and b"\n" not in data.replace(b"\r\n", b"")
    return data.decode().split("\r\n")[:-1]


def refusal(offer: SessionDescription, policy: Policy, previous: tuple[LinePlan, ...] = ()) -> NotAcceptable:
    with pytest.raises(NotAcceptable) as caught:
        plan(offer, policy, previous)
    assert caught.value.status == 488
    return caught.value
