"""Answer an offer as a recorder does (RFC 3264, RFC 7866 section 7): take every line it can record, refuse the rest.

Two steps, because ports and keys are made in between: `plan` decides line by line, `answer` writes the answer. Nothing
is ever taken with less protection than offered: an SRTP line with unusable keys is refused, not recorded in the clear.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sip.crypto import PREFERENCE, SUITES, CryptoOffer, MasterKey, UnusableCrypto, canonical, crypto_line
from sip.errors import LocalError, NotAcceptable
from sip.sdp import Format, MediaLine, SessionDescription, ip_of

SUPPORTED = frozenset(SUITES) - {"AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32"}
"""Suites the media plane decrypts."""
KINDS = frozenset({"audio", "video", "text", "application"})
"""Media that can come as RTP and so can be stored; MSRP, T.38 and data channels have no RTP profile and are refused."""
PLAIN = frozenset({"RTP/AVP", "RTP/AVPF"})
SECURE = frozenset({"RTP/SAVP", "RTP/SAVPF"})
DTLS = frozenset({"UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})
_ANSWER_DIRECTION = {"sendonly": "recvonly", "sendrecv": "recvonly", "recvonly": "inactive", "inactive": "inactive"}
"""RFC 3264 section 6.1 for somebody who never sends."""
_WARNINGS = {
    "kind": (304, "Media type not available"),
    "profile": (302, "Incompatible transport protocol"),
    "formats": (305, "Incompatible media format"),
    "port-zero": (304, "No stream to record"),
}
_WARNING = (399, "No stream can be recorded as offered")


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be accepted, by configuration and by the way the offer came."""

    srtp: Literal["required", "preferred", "off"] = "required"
    """required: no plain RTP; preferred: SRTP where offered; off: an optional SRTP offer is taken as plain RTP."""
    secure: bool = True
    """The offer came over TLS."""
    sdes_without_tls: bool = True
    """Take keys that came unprotected (RFC 4568 section 8)."""
    max_lines: int = 64
    """Lines beyond are refused: each costs two sockets."""
    supported: frozenset[str] = SUPPORTED
    """Suites the media plane can do."""
    kinds: frozenset[str] = KINDS
    """Media to record."""
    several_keys: bool = False
    """The media plane can choose among keys by their identifiers."""
    unencrypted_srtcp: bool = False
    """Take a line that leaves SRTCP in the clear."""


@dataclass(frozen=True, slots=True)
class LinePlan:
    """What to do with one m-line: everything the media plane needs."""

    index: int
    """Place of the m-line, from 0."""
    media: str
    """audio, video, text or application, or what was sent."""
    accepted: bool
    """Whether it gets a port."""
    reason: str | None = None
    """Why it was refused: removed, port-zero, too-many-lines, kind, profile, formats, dtls, crypto, srtp-required,
    sdes-without-tls."""
    label: str | None = None
    """RFC 4574 label as offered."""
    profile: str = ""
    """Transport as offered."""
    suite: str | None = None
    """SRTP suite in its registered spelling, None for plain RTP."""
    crypto: CryptoOffer | None = None
    """The crypto attribute that is answered."""
    formats: tuple[Format, ...] = ()
    """Payload types in the order offered; all of them are recorded."""
    direction: str = "sendrecv"
    """The offer's effective one."""
    answer_direction: str = "inactive"
    """Ours."""
    held: bool = False
    """The peer sends nothing for now: inactive, recvonly, or the address 0.0.0.0 or ::."""
    removed: bool = False
    """The slot was used and now has port 0."""
    rtcp_mux: bool = False
    """RTCP comes on the RTP port (RFC 5761)."""
    source: tuple[str, int] | None = None
    """Where the peer expects media and mostly sends from; None if it named no numeric address."""
    rtcp_source: tuple[str, int] | None = None
    """The same for RTCP."""
    setup: str | None = None
    """DTLS role offered."""
    fingerprints: tuple[str, ...] = field(default=(), repr=False)
    """Certificate fingerprints offered."""

    def to_state(self) -> dict[str, Any]:
        """Give a form that JSON can carry, for checkpoints; it holds keys."""
        state = asdict(self)
        if self.crypto is not None:
            state["crypto"] |= {"key": _text(self.crypto.key), "mki": _text(self.crypto.mki)}
            state["crypto"]["others"] = [[_text(k.key), _text(k.mki), k.lifetime] for k in self.crypto.others]
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LinePlan:
        """Take back what `to_state` gave, also after a detour through JSON."""
        values = dict(state)
        values["formats"] = tuple(Format(**item) for item in state["formats"])
        values["source"], values["rtcp_source"] = _pair(state["source"]), _pair(state["rtcp_source"])
        values["fingerprints"] = tuple(state["fingerprints"])
        if state["crypto"] is not None:
            crypto = dict(state["crypto"])
            others = tuple(MasterKey(_raw(key) or b"", _raw(mki), life) for key, mki, life in crypto["others"])
            crypto |= {"key": _raw(crypto["key"]) or b"", "mki": _raw(crypto["mki"]), "others": others}
            values["crypto"] = CryptoOffer(**crypto)
        return cls(**values)


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _raw(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _pair(value: Sequence[Any] | None) -> tuple[str, int] | None:
    return None if value is None else (str(value[0]), int(value[1]))


def plan(offer: SessionDescription, policy: Policy, previous: Sequence[LinePlan] = ()) -> tuple[LinePlan, ...]:
    """Decide on every m-line of an offer, in order; `previous` are the plans of the last answered one.

    Raise NotAcceptable if nothing can be recorded. An offer that only removes what was there is acceptable.
    """
    before = {line.index: line for line in previous}
    plans = tuple(_plan_line(media, policy, before.get(media.index)) for media in offer.media)
    if any(line.accepted for line in plans) or (any(line.removed for line in plans) and not _refused(plans)):
        return plans
    refused = _refused(plans)
    reason = refused[0].reason if refused else "port-zero"
    warning, text = _WARNINGS.get(reason or "", _WARNING)
    raise NotAcceptable(reason or "port-zero", warning, text)


def _refused(plans: Sequence[LinePlan]) -> list[LinePlan]:
    return [line for line in plans if line.reason not in (None, "removed", "port-zero")]


def _plan_line(media: MediaLine, policy: Policy, before: LinePlan | None) -> LinePlan:
    formats = media.formats
    crypto, reason = None, _unfit(media, formats, policy)
    if reason is None:
        crypto, reason = _protection(media, policy)
    was_used = before is not None and (before.accepted or before.removed)
    removed = media.port == 0 and was_used
    accepted = reason is None
    source = _source(media)
    mux = media.attribute("rtcp-mux") is not None
    return LinePlan(
        index=media.index,
        media=media.kind,
        accepted=accepted,
        reason="removed" if removed else reason,
        label=media.label,
        profile=media.profile,
        suite=canonical(crypto.suite) if crypto else None,
        crypto=crypto,
        formats=formats,
        direction=media.direction,
        answer_direction=_ANSWER_DIRECTION[media.direction] if accepted else "inactive",
        held=media.direction in ("inactive", "recvonly") or bool(media.connection and media.connection.on_hold),
        removed=removed,
        rtcp_mux=mux,
        source=source,
        rtcp_source=source if mux else _rtcp_source(media, source),
        setup=media.setup,
        fingerprints=media.fingerprints,
    )


def _unfit(media: MediaLine, formats: tuple[Format, ...], policy: Policy) -> str | None:
    """Give the reason why a line cannot be recorded whatever its keys, None if it can."""
    if media.port == 0:
        return "port-zero"
    if media.index >= policy.max_lines:
        return "too-many-lines"
    if media.kind not in policy.kinds:
        return "kind"
    if media.profile.upper() not in PLAIN | SECURE | DTLS:
        return "profile"
    return None if formats else "formats"


def _protection(media: MediaLine, policy: Policy) -> tuple[CryptoOffer | None, str | None]:
    """Choose the crypto attribute to answer; or give the reason for refusing the line."""
    lines = media.all_attributes("crypto")
    profile = media.profile.upper()
    if profile in DTLS or (profile in SECURE and media.fingerprints and not lines):
        return None, "dtls"
    if profile in PLAIN and (not lines or policy.srtp == "off"):
        return None, "srtp-required" if policy.srtp == "required" else None
    refusal = "crypto"
    if policy.secure or policy.sdes_without_tls:
        best = _best(lines, policy)
        if best is not None:
            return best, None
    elif lines:
        refusal = "sdes-without-tls"
    # Optional SRTP (RTP/AVP with keys) may be plain where the policy lets plain RTP in at all.
    return None, None if profile in PLAIN and policy.srtp != "required" else refusal


def _best(lines: Sequence[str], policy: Policy) -> CryptoOffer | None:
    usable: list[CryptoOffer] = []
    for line in lines:
        try:
            offer = CryptoOffer.parse(line, unencrypted_srtcp=policy.unencrypted_srtcp)
        except UnusableCrypto:
            continue
        if canonical(offer.suite) in policy.supported and (policy.several_keys or not offer.others):
            usable.append(offer)
    return min(usable, key=lambda offer: (offer.hinted, PREFERENCE[canonical(offer.suite) or ""]), default=None)


def _source(media: MediaLine) -> tuple[str, int] | None:
    connection = media.connection
    if connection is None or connection.ip is None or connection.on_hold or media.port == 0:
        return None
    return connection.ip, media.port


def _rtcp_source(media: MediaLine, source: tuple[str, int] | None) -> tuple[str, int] | None:
    """Read `a=rtcp:port [IN IP4 address]` (RFC 3605); by default RTCP is one port above."""
    words = (media.attribute("rtcp") or "").split()
    if words and words[0].isdecimal() and len(words[0]) < 6 and 0 < int(words[0]) <= 65_535:
        address = ip_of(words[3]) if len(words) > 3 else (source[0] if source else None)
        return (address, int(words[0])) if address else None
    return (source[0], source[1] + 1) if source and source[1] < 65_535 else None


def answer(
    offer: SessionDescription,
    plans: Sequence[LinePlan],
    *,
    address: str,
    ports: Mapping[int, int],
    keys: Mapping[int, bytes],
    session_id: int,
    version: int,
) -> bytes:
    """Write the answer: one line per offered line, `ports` and `keys` (key and salt) by index of the accepted ones.

    `session_id` stays the same in a dialog, `version` rises by one with every changed answer (RFC 3264 section 8).
    Raise LocalError if a port or a key of the right length is missing.
    """
    kind = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=- {session_id} {version} IN {kind} {address}", "s=-", f"c=IN {kind} {address}"]
    lines.append(f"t={_times(offer)}")
    for media, line in zip(offer.media, plans, strict=True):
        lines += _taken(line, ports, keys) if line.accepted else _turned_down(media, line)
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")


def _times(offer: SessionDescription) -> str:
    """Repeat the offer's times (RFC 3264 section 6)."""
    words = (offer.value("t") or "").split()
    return " ".join(words) if len(words) == 2 and all(word.isdecimal() for word in words) else "0 0"


def _turned_down(media: MediaLine, line: LinePlan) -> list[str]:
    words = (media.kind or "audio", "0", media.profile or "RTP/AVP", *(media.payloads or ("0",)))
    return [f"m={' '.join(words)}", *([f"a=label:{line.label}"] if line.label else [])]


def _taken(line: LinePlan, ports: Mapping[int, int], keys: Mapping[int, bytes]) -> list[str]:
    if not 0 < ports.get(line.index, 0) <= 65_535:
        raise LocalError("no port for an accepted line")
    numbers = " ".join(str(item.payload_type) for item in line.formats)
    lines = [f"m={line.media} {ports[line.index]} {line.profile} {numbers}"]
    for item in line.formats:
        lines += _describe(item)
    lines.append(f"a={line.answer_direction}")
    if line.label:
        lines.append(f"a=label:{line.label}")
    if line.rtcp_mux:
        lines.append("a=rtcp-mux")
    if line.crypto is not None:
        lines.append(f"a=crypto:{_own_key(line, line.crypto, keys)}")
    return lines


def _describe(item: Format) -> list[str]:
    channels = f"/{item.channels}" if item.channels > 1 else ""
    lines = [f"a=rtpmap:{item.payload_type} {item.encoding}/{item.clock}{channels}"] if item.encoding else []
    return lines + ([f"a=fmtp:{item.payload_type} {item.fmtp}"] if item.fmtp else [])


def _own_key(line: LinePlan, crypto: CryptoOffer, keys: Mapping[int, bytes]) -> str:
    key = keys.get(line.index, b"")
    if len(key) != SUITES[line.suite or ""] or key == crypto.key:
        raise LocalError("no key of our own for an SRTP line")
    return crypto_line(crypto, key)
