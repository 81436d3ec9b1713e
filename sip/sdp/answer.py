"""Answer an offer (RFC 3264, RFC 7866 section 7): accept every line that can be recorded, refuse the rest.

There are two steps, because ports and keys are made in between: `plan` decides line by line, `answer` writes the SDP.
No line is accepted with less protection than offered: an SRTP line with unusable keys is refused, not recorded in the
clear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from ipaddress import ip_address

from sip.errors import LocalError, NotAcceptable
from sip.sdp.description import FAMILIES, STATIC, Format, MediaLine, SessionDescription, family_of, ip_of, of_one_host
from sip.sdp.plan import LinePlan, Policy
from sip.sdp.sdes import SUITES, WEAK, CryptoOffer, UnusableCrypto, canonical, other_keys, strength
from sip.sdp.writer import Line, attribute, crypto, format_lines, media_line, session_lines, write

__all__ = ["LinePlan", "Policy", "answer", "plan", "tls_id"]

PLAIN = frozenset({"RTP/AVP", "RTP/AVPF"})
SECURE = frozenset({"RTP/SAVP", "RTP/SAVPF"})
DTLS = frozenset({"UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})
_PROFILES = PLAIN | SECURE | DTLS
TLS_ID_BYTES = 16
"""Half the digits of our tls-id: RFC 8842 section 4 asks for 20 characters."""
_ANSWER_DIRECTION = {"sendonly": "recvonly", "sendrecv": "recvonly", "recvonly": "inactive", "inactive": "inactive"}
"""Our direction for each offered one (RFC 3264 section 6.1): we never send."""
_ANSWER_SETUP = {"actpass": "active", "passive": "active", "active": "passive", "holdconn": "holdconn"}
"""Our DTLS role for each offered one (RFC 5763 section 5, RFC 4145 section 4.1). We choose active if we may, since that
opens firewalls on our side."""
HASHES = frozenset({"sha-1", "sha-224", "sha-256", "sha-384", "sha-512"})
"""Hash functions that a certificate fingerprint may use (RFC 8122 section 5)."""
_REQUESTS = {"nack pli": "pli", "ccm fir": "fir"}
"""Values of a=rtcp-fb after the payload type that we answer, and our names for them."""
_WARNINGS = {
    "kind": (304, "Media type not available"),
    "profile": (302, "Incompatible transport protocol"),
    "formats": (305, "Incompatible media format"),
    "port-zero": (304, "No stream to record"),
    "address": (301, "Incompatible network address formats"),
    "target": (301, "No address of one host that media could come from"),
    "srtp-downgrade": (399, "Nothing may be protected less than before"),
}
DOWNGRADE = "srtp-downgrade"
"""Reason for refusing a re-offer that protects less than before."""
MAX_UNASKED = 16
"""How many payload types are written out although the client relied on the table of RFC 3551 (RFC 3264 section 5.1).
Beyond this number the answer would be many times as long as the offer."""
Closed = Callable[[str, int], bool]
"""Returns whether nothing may be sent to an address and port."""
_WARNING = (399, "No stream can be recorded as offered")


def closes_nothing(host: str, port: int) -> bool:
    """Allow every address (see `Closed`)."""
    return False


def plan(
    offer: SessionDescription,
    policy: Policy,
    previous: Sequence[LinePlan] = (),
    families: frozenset[str] = FAMILIES,
    closed: Closed = closes_nothing,
) -> tuple[LinePlan, ...]:
    """Decide on every m-line of an offer, in order; `previous` holds the plans of the last answered offer.

    `families` holds the IP versions of which we have an address; `closed` returns whether nothing may be sent to an
    address and port. Raise NotAcceptable if nothing can be recorded. An offer that only removes lines is acceptable.
    """
    before = {line.index: line for line in previous}
    known = [line.least for line in previous if line.least is not None]
    floor = min(known, default=WEAK) if policy.srtp == "required" else WEAK
    plans = tuple(_plan_line(media, policy, before.get(media.index), families, closed, floor) for media in offer.media)
    _no_downgrade(plans, before, policy)
    if any(line.accepted for line in plans) or (any(line.removed for line in plans) and not _refused(plans)):
        return plans
    refused = _refused(plans)
    reason = refused[0].reason if refused else "port-zero"
    warning, text = _WARNINGS.get(reason or "", _WARNING)
    raise NotAcceptable(reason or "port-zero", warning, text)


def _no_downgrade(plans: Sequence[LinePlan], before: Mapping[int, LinePlan], policy: Policy) -> None:
    """Refuse an offer that moves a line from SRTP to plain RTP, or to weaker keys where SRTP is required.

    A line is held to the best protection that its place ever had: raise NotAcceptable. A line in a new place may be
    plain, or have weaker keys or keys sent in the clear, only if other lines do as well. Otherwise that line alone is
    refused, since a client that adds plain video to a call would lose the rest of its offer.
    """
    secured = any(line.least is not None for line in before.values())
    by_handshake = secured and all(line.handshaken for line in before.values() if line.least is not None)
    exposed = policy.srtp == "required" and not policy.secure
    mixed = any(line.accepted and line.protection is None for line in before.values())
    for line in plans:
        old = before.get(line.index)
        line.follow(old)
        least = line.secured
        new = least is None and (old is None or not (old.accepted or old.removed))
        if line.reason == DOWNGRADE and not new:
            raise NotAcceptable(DOWNGRADE, 399, "Keys must not become weaker")
        if not line.accepted:
            continue
        if line.protection is None:
            if least is not None:
                raise NotAcceptable(DOWNGRADE, 399, "RTP must not take the place of SRTP")
            if new and secured and not mixed:
                line.refuse(DOWNGRADE)
        elif line.suite is not None and exposed and (line.shaken or (least is None and by_handshake)):
            if not new:
                raise NotAcceptable(DOWNGRADE, 399, "Keys must not be sent in the clear in place of a handshake")
            line.refuse(DOWNGRADE)
        else:
            line.count_keys()


def _refused(plans: Sequence[LinePlan]) -> list[LinePlan]:
    return [line for line in plans if line.reason not in (None, "removed", "port-zero")]


def _plan_line(
    media: MediaLine, policy: Policy, before: LinePlan | None, families: frozenset[str], closed: Closed, floor: int
) -> LinePlan:
    """Decide on one line; `floor` is the lowest class of suites allowed for a line in a new place."""
    formats = media.formats
    family = (media.connection.family if media.connection else "") or (before.family if before else "")
    usable: Sequence[CryptoOffer] = ()
    setup, reason = None, _unfit(media, formats, policy)
    if reason is None and family and family not in families:
        reason = "address"
    if reason is None and _leads_nowhere(media, closed):
        reason = "target"
    if reason is None and _wants_dtls(media):
        setup, reason = _association(media, policy, before)
    elif reason is None:
        least = before.least if before and policy.srtp == "required" else None
        usable, reason = _protection(media, policy, floor if least is None else least)
    best = usable[0] if usable else None
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
        suite=canonical(best.suite) if best else None,
        crypto=best,
        other_keys=other_keys(usable[1:]),
        formats=formats,
        direction=media.direction,
        answer_direction=_ANSWER_DIRECTION[media.direction] if accepted else "inactive",
        held=media.direction in ("inactive", "recvonly") or bool(media.connection and media.connection.on_hold),
        removed=removed,
        rtcp_mux=mux,
        source=source,
        rtcp_source=source if mux or source is None else _rtcp_source(media, source),
        setup=media.setup,
        fingerprints=media.fingerprints,
        tls_id=media.attribute("tls-id"),
        feedback=tuple(dict.fromkeys(name for _, name in _feedback(media))),
        family=family,
        answer_setup=setup,
        own_tls_id=before.own_tls_id if before and before.tls_id == media.attribute("tls-id") else None,
    )


def _unfit(media: MediaLine, formats: tuple[Format, ...], policy: Policy) -> str | None:
    """Return why a line cannot be recorded whatever its keys are, or None."""
    if media.port == 0:
        return "port-zero"
    if media.index >= policy.max_lines:
        return "too-many-lines"
    if media.kind not in policy.kinds:
        return "kind"
    if media.profile.upper() not in _PROFILES:
        return "profile"
    return None if formats else "formats"


def _leads_nowhere(media: MediaLine, closed: Closed) -> bool:
    """Return whether a line's address for RTP or RTCP is not that of one host to which we may send.

    The zero address is a hold (RFC 3264 section 8.4). A name would need DNS, and its address could change.
    """
    connection, source = media.connection, _source(media)
    if connection is None or connection.on_hold:
        return False
    if source is None or not of_one_host(source[0]) or closed(*source):
        return True
    if media.attribute("rtcp-mux") is not None:
        return False  # RTCP comes where RTP does; browsers write `a=rtcp:9 IN IP4 0.0.0.0` as well
    words = (media.attribute("rtcp") or "").split()
    if len(words) > 3 and ip_of(words[3]) is None:
        return True
    rtcp = _rtcp_source(media, source)
    return rtcp is not None and (not of_one_host(rtcp[0]) or closed(*rtcp))


def _protection(media: MediaLine, policy: Policy, least: int) -> tuple[Sequence[CryptoOffer], str | None]:
    """Return the usable crypto attributes, the one to answer first; or the reason for refusing the line."""
    lines = media.all_attributes("crypto")
    profile = media.profile.upper()
    if profile in PLAIN and (not lines or policy.srtp == "off"):
        return (), "srtp-required" if policy.srtp == "required" else None
    refusal = "crypto"
    if policy.secure or policy.sdes_without_tls:
        usable, refusal = _usable(lines, policy, least)
        if usable:
            return usable, None
    elif lines:
        refusal = "sdes-without-tls"
    # Optional SRTP (RTP/AVP with keys) may be plain if the policy allows plain RTP.
    return (), None if profile in PLAIN and policy.srtp != "required" else refusal


def _usable(lines: Sequence[str], policy: Policy, least: int) -> tuple[Sequence[CryptoOffer], str]:
    """Return the attributes with usable keys, the one to answer first (at least class `least`); empty if there is none.

    The client's order is its preference (RFC 4568 section 5.1.1). After the answered attribute come the others that
    it may use until it has our answer, also with suites that we never answer. The second value says what is wrong
    with the others; for a suite that we know, that is more specific than "suite".
    """
    read: list[CryptoOffer] = []
    fault = "crypto"
    for line in lines:
        try:
            offer = CryptoOffer.parse(line, unencrypted_srtcp=policy.unencrypted_srtcp)
        except UnusableCrypto as error:
            fault = fault if error.code == "crypto-suite" else error.code
            continue
        if policy.several_keys or not offer.others:
            read.append(offer)
    answerable = [offer for offer in read if canonical(offer.suite) in policy.supported]
    best = next((offer for offer in answerable if strength(canonical(offer.suite) or "") >= least), None)
    if best is None:
        return (), DOWNGRADE if answerable else fault
    return [best, *(offer for offer in read if offer is not best)], fault


def _wants_dtls(media: MediaLine) -> bool:
    """Return whether this is a DTLS-SRTP line, also under the older profile names without keys."""
    profile = media.profile.upper()
    return profile in DTLS or (profile in SECURE and bool(media.fingerprints) and not media.all_attributes("crypto"))


def _association(media: MediaLine, policy: Policy, before: LinePlan | None) -> tuple[str | None, str | None]:
    """Return our DTLS role (RFC 5763 section 5), or the reason for refusing the line."""
    if not policy.dtls:
        return None, "dtls"
    if not any(value.split()[:1] and value.split()[0].lower() in HASHES for value in media.fingerprints):
        return None, "dtls-fingerprint"
    offered = (media.setup or "actpass").lower()
    if offered not in _ANSWER_SETUP:
        return None, "dtls"
    if offered == "actpass" and before is not None and before.answer_setup == "passive":
        return "passive", None  # the role stays: changing it would need a new association
    return _ANSWER_SETUP[offered], None


def _feedback(media: MediaLine) -> list[tuple[str, str]]:
    """Return each a=rtcp-fb of a video line that asks for pictures, with our name for it (RFC 4585 section 4.2)."""
    if media.kind != "video" or not media.profile.upper().endswith("F"):
        return []
    found = []
    for value in media.all_attributes("rtcp-fb"):
        payload, _, words = value.partition(" ")
        name = _REQUESTS.get(" ".join(words.lower().split()))
        if name and (payload == "*" or payload in media.payloads):
            found.append((" ".join(value.split()), name))
    return found


def _source(media: MediaLine) -> tuple[str, int] | None:
    connection = media.connection
    if connection is None or connection.ip is None or connection.on_hold or media.port == 0:
        return None
    return connection.ip, media.port


def _rtcp_source(media: MediaLine, source: tuple[str, int] | None) -> tuple[str, int] | None:
    """Read `a=rtcp:port [IN IP4 address]` (RFC 3605); by default one port above RTP, None at the zero address."""
    words = (media.attribute("rtcp") or "").split()
    if words and words[0].isdecimal() and len(words[0]) < 6 and 0 < int(words[0]) <= 65_535:
        address = ip_of(words[3]) if len(words) > 3 else (source[0] if source else None)
        return (address, int(words[0])) if address and not ip_address(address).is_unspecified else None
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
    fingerprint: str = "",
    other: str = "",
    paused: bool = False,
) -> bytes:
    """Write the answer: one line per offered line; `ports` and `keys` (key and salt) by index of accepted lines.

    `fingerprint` is that of our certificate, for DTLS-SRTP lines; `other` is our address for lines that were offered
    with the other IP version than that of `address`; `paused`: ask the client to send nothing for now.

    `session_id` stays the same in a dialog; `version` rises by one with every changed answer (RFC 3264 section 8).
    Raise LocalError if a port or a key of the right length is missing.
    """
    if paused:
        plans = [replace(line, answer_direction="inactive") for line in plans]
    taken = [line.family for line in plans if line.accepted]
    if other and taken and set(taken) == {family_of(other)}:
        address, other = other, address
    kind = family_of(address)
    lines = session_lines(address, session_id, version, times=_times(offer))
    handshakes = sum(line.accepted and line.answer_setup is not None for line in plans)
    if handshakes > 1 and fingerprint:
        # once for all lines (RFC 8122 section 5): repeating it would make the answer far longer than the offer
        lines.append(attribute("fingerprint", fingerprint))
    terse = _unasked(offer, plans) > MAX_UNASKED
    for media, line in zip(offer.media, plans, strict=True):
        own = f"IN {line.family} {other}" if other and line.family not in ("", kind) else ""
        said = _mapped(media, line) if terse else None
        lines += _taken(media, line, ports, keys, own, said) if line.accepted else _turned_down(media, line)
        if line.accepted and line.answer_setup:
            lines += _own_certificate(line, fingerprint, session_id, alone=handshakes == 1)
    return write(lines)


def _times(offer: SessionDescription) -> str:
    """Repeat the offer's times (RFC 3264 section 6)."""
    words = (offer.value("t") or "").split()
    return " ".join(words) if len(words) == 2 and all(word.isdecimal() for word in words) else "0 0"


def _turned_down(media: MediaLine, line: LinePlan) -> list[Line]:
    first = media_line(media.kind or "audio", 0, media.profile or "RTP/AVP", media.payloads or ("0",))
    return [first, *([attribute("label", line.label)] if line.label else [])]


def _taken(
    media: MediaLine,
    line: LinePlan,
    ports: Mapping[int, int],
    keys: Mapping[int, bytes],
    connection: str,
    mapped: frozenset[int] | None,
) -> list[Line]:
    """Write an accepted line; `mapped` holds the payload types to describe, None for all."""
    if not 0 < ports.get(line.index, 0) <= 65_535:
        raise LocalError("an accepted line has no port")
    numbers = [item.payload_type for item in line.formats]
    lines = [media_line(line.media, ports[line.index], line.profile, numbers)]
    lines += [("c", connection)] if connection else []
    for item in line.formats:
        lines += format_lines(item) if mapped is None or item.payload_type in mapped else []
    lines += [attribute("rtcp-fb", value) for value, _ in _feedback(media)]
    times = [(name, media.attribute(name) or "") for name in ("ptime", "maxptime")]
    lines += [attribute(name, value) for name, value in times if value.isdigit()]
    lines.append(attribute(line.answer_direction))
    if line.label:
        lines.append(attribute("label", line.label))
    if line.rtcp_mux:
        lines.append(attribute("rtcp-mux"))
    if line.crypto is not None:
        lines.append(_own_key(line, line.crypto, keys))
    return lines


def _unasked(offer: SessionDescription, plans: Sequence[LinePlan]) -> int:
    """Count the payload types for which the client relied on the table of RFC 3551; 0 if there are few."""
    if sum(len(line.formats) for line in plans if line.accepted) <= MAX_UNASKED:
        return 0
    both = [(media, line) for media, line in zip(offer.media, plans, strict=True) if line.accepted]
    return sum(len(line.formats) - len(_mapped(media, line)) for media, line in both)


def _mapped(media: MediaLine, line: LinePlan) -> frozenset[int]:
    """Return the payload types of a line that the client described itself."""
    named = {value.partition(" ")[0] for value in media.all_attributes("rtpmap")}
    known = ((f.payload_type, STATIC.get(f.payload_type) == f[1:4] and f.fmtp is None) for f in line.formats)
    return frozenset(number for number, static in known if not static or str(number) in named)


def _own_certificate(line: LinePlan, fingerprint: str, session_id: int, *, alone: bool) -> list[Line]:
    if not fingerprint:
        raise LocalError("a DTLS line has no certificate of ours")
    lines = [attribute("setup", line.answer_setup), *([attribute("fingerprint", fingerprint)] if alone else [])]
    if line.tls_id is None:
        return lines
    return [*lines, attribute("tls-id", line.own_tls_id or tls_id(line, fingerprint, session_id))]


def tls_id(line: LinePlan, fingerprint: str, session_id: int) -> str:
    """Return our a=tls-id, which changes exactly when theirs or our certificate does (RFC 8842 section 5.3)."""
    text = f"{session_id} {line.index} {line.tls_id} {fingerprint}"
    return blake2b(text.encode(), digest_size=TLS_ID_BYTES).hexdigest()


def _own_key(line: LinePlan, offered: CryptoOffer, keys: Mapping[int, bytes]) -> Line:
    """Return our key under the offered tag and suite (RFC 4568 section 5.1.2)."""
    key = keys.get(line.index, b"")
    if len(key) != SUITES[line.suite or ""] or key == offered.key:
        raise LocalError("an SRTP line has no key of ours")
    return crypto(offered.suite, key, tag=offered.tag, padded=offered.padded)
