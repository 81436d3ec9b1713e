"""Mask a SIP message for a trace: the tables below list what is known to be harmless, everything else is masked.

The message is parsed by `sip` and put together again from what the tables allow; no pattern searches for names or
numbers. A header field that no table has is shown without its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from personal import MASK
from recorder.observe.redaction import METHODS
from recorder.trace.masked_bodies import metadata_lines, sdp_lines
from recorder.trace.masks import MORE, Masks, address, number, one_of
from sip.errors import SipError
from sip.message.grammar import MAX_HEAD, cut, head_end, params
from sip.message.header_values import MAGIC_COOKIE, CSeq, MediaType, NameAddr, Via
from sip.message.headers import USUAL_NAMES
from sip.message.message import VERSION, Framed, Head
from sip.message.multipart import Part, parts_of
from sip.transaction.response import REASONS

MAX_LINES = 1_000
"""Lines of one message in a trace; the longest metadata seen, of a conference of 200, has about 3,000 elements."""

Show = Callable[[Masks, str], str]
"""Returns what is shown of a header field's value."""

OPTION_TAGS = frozenset(
    "100rel 199 answermode early-session eventlist explicitsub from-change geolocation-http geolocation-sip gin gruu "
    "histinfo ice join multiple-refer norefersub nosub outbound path policy precondition pref privacy record-aware "
    "replaces resource-priority sdp-anat sec-agree sip-cc siprec tdialog timer trickle-ice uui 100relsiprec "
    "siprec100rel".split()
)
"""Of the IANA registry; the last two are joined without a comma by one gateway."""
EVENTS = frozenset("dialog refer presence message-summary conference reg hold talk check-sync kpml".split())
TYPES = frozenset(
    "application/sdp application/rs-metadata+xml application/rs-metadata application/rs-metadata-request "
    "application/media_control+xml application/dtmf-relay application/isup application/qsig application/xml "
    "application/octet-stream application/* multipart/mixed multipart/alternative multipart/related message/sipfrag "
    "text/plain text/xml text/* */*".split()
)
DISPOSITIONS = frozenset(
    "session recording-session render alert icon by-reference info-package signal early-session".split()
)
HANDLINGS, ENCODINGS = frozenset(("required", "optional")), frozenset(("identity", "gzip", "deflate", "binary", "8bit"))
PRIVACY = frozenset("none id user header session critical history".split())
REASON_PROTOCOLS = frozenset(("sip", "q.850", "rs", "emergency", "preemption"))
SOFTWARE = frozenset(
    "acme acmepacket asterisk audiocodes audiocodes-sip-gateway avaya baresip broadworks cisco cisco-sipgateway cube "
    "drachtio enghouse freeswitch gateway genband genesys ios jambonz kamailio linphone mediant metaswitch mizu "
    "opensips oracle pjsip pjsua polycom perimeta ribbon rtpengine sbc session sipp sip siprec sonus swe telco twilio "
    "unify zoom recorder border controller e-sbc vbc verba microsoft".split()
)
"""Words of User-Agent and Server that are shown, with versions beside them."""
SCHEMES = frozenset(("digest", "basic", "bearer"))
DIGEST = {"algorithm": frozenset(("md5", "md5-sess", "sha-256", "sha-256-sess", "sha-512-256")),
          "qop": frozenset(("auth", "auth-int")), "stale": frozenset(("true", "false"))}  # fmt: skip
CONTACT_FLAGS = frozenset(
    "+sip.src +sip.srs +sip-src +sip-rec src isfocus audio video text application +sip.instance reg-id ob".split()
)
PEOPLE_FLAGS = frozenset("privacy party screen reason counter index".split())


def shown(data: bytes | Framed, masks: Masks) -> str:
    """Return a message as a trace shows it, in lines that end in a line feed."""
    if isinstance(data, Framed):
        head, body = data.head, data.body
    else:
        data = data.lstrip(b"\r\n")
        end = head_end(data)
        head, body = Head.cut(data[: end[0] if end else MAX_HEAD]), data[end[1] :] if end else b""
    lines = [_start(head.start, masks)]
    for name, value in head.headers.items():
        lines.append(_field(name, value, masks))
    lines.append("")
    lines += _body(head, body, masks)
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"({len(lines) - MAX_LINES} more lines)"]
    return "".join(f"{line}\n" for line in lines)


def _start(text: str, masks: Masks) -> str:
    words = text.split(" ", 2)
    if len(words) < 2:
        return f"({len(text)} characters that are no start line)"
    if words[0].upper().startswith("SIP/"):
        status = words[1] if len(words[1]) == 3 and number(words[1]) != MASK else MASK
        return f"{_version(words[0])} {status} {REASONS.get(int(status), MORE) if status != MASK else MASK}"
    version = _version(words[2]) if len(words) == 3 else MASK
    return f"{one_of(words[0], METHODS)} {masks.uri(words[1], machine=True)} {version}"


def _version(text: str) -> str:
    return one_of(text.strip(), (VERSION, "SIP/1.0", "SIP/3.0"))


# ---- header fields ----
def _field(name: str, value: str, masks: Masks) -> str:
    show = FIELDS.get(name.lower())
    if show is None:
        return f"{name if name in USUAL_NAMES or name.lower() in NAMES else '(another field)'}: {MASK}"
    try:
        return f"{name}: {show(masks, value)}"
    except (SipError, ValueError):
        return f"{name}: {MASK}"


def _list(show: Show, masks: Masks, value: str) -> str:
    return ", ".join(show(masks, each) for each in cut(value, ","))


def _words(known: frozenset[str], _: Masks, value: str) -> str:
    return one_of(value, known)


def _number(_: Masks, value: str) -> str:
    return number(value)


def _id(kind: str, masks: Masks, value: str) -> str:
    return masks.word(kind, value)


def _via(masks: Masks, value: str) -> str:
    via = Via.parse(value)
    place = masks.host(via.host)
    text = f"{_version(via.protocol)}/{one_of(via.transport, ('UDP', 'TCP', 'TLS', 'WS', 'WSS', 'SCTP'))} "
    text += f"[{place}]" if ":" in place else place
    text += f":{via.port}" if via.port else ""
    for name, given in via.params:
        if name == "branch":
            cookie = MAGIC_COOKIE if (given or "").startswith(MAGIC_COOKIE) else ""
            text += f";branch={cookie}{masks.word('branch', given or '')}"
        elif name == "received":
            text += f";received={address(given or '')}"
        elif name in ("rport", "ttl"):
            text += f";{name}={number(given)}" if given else f";{name}"
        elif name == "alias":
            text += ";alias"
        elif not text.endswith(MORE):
            text += f";{MORE}"
    return text


def _person(masks: Masks, value: str) -> str:
    """Show the address of somebody: neither name nor user, nor where they are."""
    return _address(masks, value, PEOPLE_FLAGS, machine=False)


def _machine(masks: Masks, value: str) -> str:
    return "*" if value == "*" else _address(masks, value, CONTACT_FLAGS, machine=True)


def _address(masks: Masks, value: str, flags: frozenset[str], *, machine: bool) -> str:
    found = NameAddr.parse_leniently(value)
    text = f'"{MASK}" ' if found.display else ""
    text += f"<{masks.uri(found.uri, machine=machine)}>"
    for name, given in found.params:
        if name == "tag":
            text += f";tag={masks.word('tag', given or '')}"
        elif name in ("expires", "q"):
            text += f";{name}={number((given or '').replace('.', ''))}" if given else f";{name}"
        elif name in flags:
            text += f";{name}" if given is None else f";{name}={MASK}"
        elif not text.endswith(MORE):
            text += f";{MORE}"
    return text


def _cseq(_: Masks, value: str) -> str:
    found = CSeq.parse(value)
    return f"{number(str(found.number))} {one_of(found.method, METHODS)}"


def _media_type(_: Masks, value: str) -> str:
    found = MediaType.parse(value)
    return one_of(found.essence, TYPES) + (f";{MORE}" if found.params else "")


def _disposition(_: Masks, value: str) -> str:
    kind, _found, tail = value.partition(";")
    text = one_of(kind, DISPOSITIONS)
    for name, given in params(tail):
        text += f";handling={one_of(given, HANDLINGS)}" if name == "handling" else f";{MORE}"
    return text


def _seconds(_: Masks, value: str) -> str:
    """Show Session-Expires, Min-SE, Retry-After: seconds, and who refreshes."""
    seconds, _found, tail = value.partition(";")
    text = number(seconds.partition("(")[0])
    refresher = dict(params(tail)).get("refresher")
    return f"{text};refresher={one_of(refresher, ('uac', 'uas'))}" if refresher else text


def _credentials(_: Masks, value: str) -> str:
    """Show the scheme, and of Digest which algorithm: never who, for what, or with which answer."""
    scheme, _found, tail = value.strip().partition(" ")
    text = one_of(scheme, SCHEMES)
    for piece in cut(tail, ","):
        name, _equals, given = piece.partition("=")
        known = DIGEST.get(name.strip().lower())
        if known:
            text += f" {name.strip().lower()}={one_of(given.strip().strip(chr(34)), known)}"
    return f"{text} {MORE}"


def _reason(_: Masks, value: str) -> str:
    protocol, _found, tail = value.partition(";")
    cause = dict(params(tail)).get("cause")
    return one_of(protocol, REASON_PROTOCOLS) + (f";cause={number(cause)}" if cause else "")


def _warning(_: Masks, value: str) -> str:
    return f"{number(value.strip()[:3])} {MORE}"


def _software(_: Masks, value: str) -> str:
    """Show the words that name software, and one version after each."""
    found: list[str] = []
    named = False
    for word in value.replace("/", " / ").split():
        bare = word.strip("()-,;").lower()
        if word == "/" and named:
            found.append(word)
        elif bare in SOFTWARE or (named and _is_version(bare)):
            found.append(word.strip("(),;"))
            named = bare in SOFTWARE
        else:
            named = False
            if not found or found[-1] != MORE:
                found.append(MORE)
    return " ".join(found)


def _is_version(text: str) -> bool:
    digits = text.lstrip("vr").replace(".", "").replace("-", "")
    return number(digits) != MASK


PEOPLE = (
    "From", "To", "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "Referred-By",
    "Refer-To", "Reply-To", "History-Info", "P-Called-Party-ID", "P-Served-User",
)  # fmt: skip
"""Header fields with addresses of people."""

NAMES = frozenset(
    "p-charging-vector p-access-network-info p-early-media p-asserted-service x-genesys-calluuid x-inin-crn "
    "x-broadworks-correlation-info x-avaya-ucid user-to-user cisco-guid x-cisco-recording-participant x-sonus-diag "
    "p-charge-info p-station-name x-call-id x-callid x-ucid proxy-authorization proxy-authenticate x-srs x-siprec "
    "path service-route".split()
)
"""Names of fields, beside those of `sip`, that are shown with a masked value."""

_FIELDS: Mapping[str, Show] = {
    **dict.fromkeys(PEOPLE, partial(_list, _person)),
    **dict.fromkeys(("Contact", "Route", "Record-Route"), partial(_list, _machine)),
    **dict.fromkeys(("Max-Forwards", "Expires", "Min-Expires", "RSeq", "Content-Length"), _number),
    **dict.fromkeys(("Session-Expires", "Min-SE", "Retry-After"), _seconds),
    **dict.fromkeys(
        ("Supported", "Require", "Unsupported", "Proxy-Require"), partial(_list, partial(_words, OPTION_TAGS))
    ),
    **dict.fromkeys(
        ("Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate"), _credentials
    ),
    **dict.fromkeys(("User-Agent", "Server"), _software),
    **dict.fromkeys(("Content-Encoding", "Accept-Encoding"), partial(_list, partial(_words, ENCODINGS))),
    "Via": partial(_list, _via),
    "Call-ID": partial(_id, "call"),
    "Session-ID": partial(_id, "session"),
    "CSeq": _cseq,
    "Allow": partial(_list, partial(_words, METHODS)),
    "Allow-Events": partial(_list, partial(_words, EVENTS)),
    "Event": partial(_words, EVENTS),
    "Accept": partial(_list, _media_type),
    "Content-Type": _media_type,
    "Content-Disposition": _disposition,
    "Privacy": partial(_words, PRIVACY),
    "Reason": partial(_list, _reason),
    "Warning": _warning,
    "MIME-Version": lambda _, value: one_of(value, ("1.0",)),
}  # fmt: skip

FIELDS: Mapping[str, Show] = {name.lower(): show for name, show in _FIELDS.items()}
"""How the values of known header fields are shown, by their name in lower case."""


# ---- bodies ----
def _body(head: Head, body: bytes, masks: Masks) -> list[str]:
    if not body:
        return []
    parts = parts_of(head.headers, body)
    if len(parts) == 1:
        return _part(parts[0], masks)
    lines: list[str] = []
    for each in parts:
        lines += ["--", *(_field(name, value, masks) for name, value in each.headers.items()), "", *_part(each, masks)]
    return [*lines, "--"] if parts else [f"({len(body)} bytes)"]


def _part(part: Part, masks: Masks) -> list[str]:
    if part.is_sdp:
        return sdp_lines(part.body, masks)
    if part.is_metadata:
        return metadata_lines(part.body, masks)
    return [f"({len(part.body)} bytes)"]
