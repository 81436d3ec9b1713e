"""Our own offers (RFC 3264, RFC 3261 section 13.2.1).

A recorder seldom makes offers: RFC 7866 leaves that to the client. There are three exceptions, each only if configured:
the built-in bridge of Cisco phones sends its INVITE without SDP; a pause that is requested at the recorder may be
signalled to the client; and a DTLS handshake that can no longer be finished is started again.
The response is an answer and reads like an offer: `plan` of `sip.sdp.answer` decides on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sip.errors import NotAcceptable
from sip.sdp.answer import Closed, closes_nothing, plan, tls_id
from sip.sdp.description import STATIC, Format, SessionDescription
from sip.sdp.plan import LinePlan, Policy
from sip.sdp.sdes import SUITES
from sip.sdp.writer import attribute, crypto, format_lines, media_line, renumbered, session_lines, write

_WANTED = (0, 8, 9, 18)
"""Static payload types that a phone's bridge can send: PCMU, PCMA, G.722, G.729."""
_EVENTS = Format(101, "telephone-event", 8000, 1, "0-15")
"""DTMF events (RFC 4733), under their customary payload type."""
NOT_OFFERED = "not-offered"
"""Reason for ignoring a line of an answer."""
SUITE = "AES_CM_128_HMAC_SHA1_80"
"""The only suite that we offer: every device with SRTP supports it."""


def first_lines(policy: Policy) -> tuple[LinePlan, ...]:
    """Return the one audio line for a client that asks us for an offer; with SRTP if it is required.

    The line holds keys if that is allowed; otherwise it uses a handshake (DTLS-SRTP, RFC 5763). Raise NotAcceptable if
    neither is allowed.
    """
    formats = tuple(Format(number, *STATIC[number]) for number in _WANTED)
    required, sdes = policy.srtp == "required", policy.secure or policy.sdes_without_tls
    if required and not sdes and not policy.dtls:
        raise NotAcceptable("sdes-without-tls", 399, "Keys must not be offered without TLS")
    profile = ("RTP/SAVP" if sdes else "UDP/TLS/RTP/SAVP") if required else "RTP/AVP"
    line = LinePlan(
        index=0,
        media="audio",
        accepted=True,
        profile=profile,
        suite=SUITE if required and sdes else None,
        answer_setup="actpass" if required and not sdes else None,
        formats=(*formats, _EVENTS),
        direction="sendonly",
        answer_direction="recvonly",
    )
    return (line,)


def write_first(
    lines: Sequence[LinePlan],
    *,
    address: str,
    ports: Sequence[int],
    keys: Sequence[bytes],
    session_id: int,
    fingerprint: str = "",
) -> bytes:
    """Write the offer of `first_lines`; `ports` and `keys` (key and salt, empty without SRTP) by line.

    `fingerprint` is that of our certificate, for a DTLS-SRTP line.
    """
    out = session_lines(address, session_id, 1)
    for line, port, key in zip(lines, ports, keys, strict=True):
        out.append(media_line(line.media, port, line.profile, [form.payload_type for form in line.formats]))
        for form in line.formats:
            out += format_lines(form)
        out.append(attribute("recvonly"))
        if line.suite and len(key) == SUITES[line.suite]:
            out.append(crypto(line.suite, key))
        if line.answer_setup:
            out += [attribute("setup", line.answer_setup), attribute("fingerprint", fingerprint)]
    return write(out)


def plan_answer(
    answer: SessionDescription, policy: Policy, lines: Sequence[LinePlan], closed: Closed = closes_nothing
) -> tuple[LinePlan, ...]:
    """Decide on the answer to our offer `lines`; raise NotAcceptable.

    Labels stay as they were, since only the client's own offers carry them (RFC 7866 section 7.1.1). An answer cannot
    add lines (RFC 3264 section 6): such a line has no port of ours and is ignored.
    """
    ours = {line.index: line for line in lines}
    plans = tuple(_as_offered(line, ours.get(line.index)) for line in plan(answer, policy, lines, closed=closed))
    if not any(line.accepted or line.removed for line in plans):
        raise NotAcceptable(NOT_OFFERED, 304, "The answer takes nothing of what was offered")
    return plans


def _as_offered(line: LinePlan, ours: LinePlan | None) -> LinePlan:
    """Refuse a line of an answer that our offer did not have, or had with port 0 or another kind of media."""
    if ours is None:
        return replace(line, accepted=False, answer_direction="inactive", reason=NOT_OFFERED)
    line = replace(line, label=line.label or ours.label)
    if not line.accepted or (ours.accepted and ours.media == line.media):
        return line
    return replace(line, accepted=False, answer_direction="inactive", reason=NOT_OFFERED, removed=ours.removed)


def with_direction(sdp: bytes, *, paused: bool, version: int) -> bytes:
    """Make the next offer from our last SDP: unchanged but for the direction, inactive or recvonly.

    The client may choose the DTLS role again (RFC 8842 section 5.2); refused lines stay refused.
    """
    ours = SessionDescription.parse(sdp)
    wanted = ("recvonly", "inactive") if paused else ("inactive", "recvonly")
    body = [_turned(pair, wanted) for media in ours.media for pair in media.lines]
    return write([*renumbered(ours.lines, version), *body])


def with_certificate(
    sdp: bytes, lines: Sequence[LinePlan], *, fingerprint: str, session_id: int, version: int, again: bool = False
) -> bytes:
    """Make the next offer from our last SDP: unchanged but for our certificate.

    A new certificate and a new a=tls-id ask for a new DTLS association on each line that has one (RFC 8842 section
    5.2; for a client without a=tls-id RFC 5763 section 5). The client chooses who starts it. With `again`, the
    certificate is the same as before, and so is each a=tls-id.
    """
    ours = SessionDescription.parse(sdp)
    common = attribute("fingerprint", fingerprint)
    head = renumbered(ours.lines, version)
    out = [common if letter == "a" and value.startswith("fingerprint:") else (letter, value) for letter, value in head]
    for media, line in zip(ours.media, lines, strict=False):
        name = (again and line.own_tls_id) or tls_id(line, fingerprint, session_id)
        fresh = {"fingerprint": fingerprint, "tls-id": name, "setup": "actpass"}
        for letter, value in media.lines:
            name = value.partition(":")[0]
            out.append(attribute(name, fresh[name]) if letter == "a" and name in fresh else (letter, value))
    return write(out)


def next_offer(sdp: bytes, *, paused: bool = False) -> bytes:
    """Make the offer for a re-INVITE without one: all that we have, so that a held stream can resume (RFC 3264 8.4).

    While `paused`, ask for no media. If nothing changes, the version stays the same.
    """
    version = SessionDescription.parse(sdp).version or ""
    same = int(version) if version.isdecimal() else 0
    unchanged = with_direction(sdp, paused=paused, version=same) == sdp
    return sdp if unchanged else with_direction(sdp, paused=paused, version=same + 1)


def _turned(pair: tuple[str, str], wanted: tuple[str, str]) -> tuple[str, str]:
    letter, value = pair
    if letter == "a" and value == wanted[0]:
        return letter, wanted[1]
    if letter == "a" and value in ("setup:active", "setup:passive"):
        return letter, "setup:actpass"
    return pair
