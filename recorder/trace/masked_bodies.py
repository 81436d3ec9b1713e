"""Mask the bodies of SIPREC messages for a trace: session descriptions and recording metadata."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from personal import MASK
from recorder.observe.redaction import CODECS
from recorder.trace.masks import MORE, Masks, address, is_address, number, one_of
from sip.sdp.sdes import SUITES
from sip.siprec.xml_reader import Damage, Node, read
from sip.siprec.xml_recovery import repair

MAX_SDP_LINES = 1_000
"""Lines of a description that are shown."""
MAX_ELEMENTS = 600
"""Elements of a document that are shown; a conference of 50 has about that many."""
MAX_DEPTH = 12
"""Levels of elements that are shown; real documents have at most 8."""

MEDIA = frozenset("audio video text application message image".split())
PROTOCOLS = frozenset(
    "RTP/AVP RTP/SAVP RTP/AVPF RTP/SAVPF UDP/TLS/RTP/SAVP UDP/TLS/RTP/SAVPF TCP/MSRP TCP/TLS/MSRP udptl".split()
)
FLAGS = frozenset(
    "sendrecv sendonly recvonly inactive rtcp-mux rtcp-mux-only rtcp-rsize ice-lite silencesupp "
    "end-of-candidates".split()
)
"""Attributes without a value, and those of which only the name is shown."""
NAMED = frozenset(
    "ssrc ssrc-group candidate ice-ufrag ice-pwd ice-options fingerprint msid msid-semantic extmap rtcp-fb group mid "
    "cname tls-id record recordpref content lang sdplang charset framerate imageattr rid simulcast source-filter "
    "sqn cdsc cpar pcap acap tcap curr des conf floorctrl".split()
)
"""Attributes whose value is masked."""
NUMBERS = frozenset(("ptime", "maxptime", "minptime"))
CRYPTO_FLAGS = frozenset(("unencrypted_srtp", "unencrypted_srtcp", "unauthenticated_srtp"))
FMTP = frozenset(
    "annexb annexa mode-set mode-change-period mode-change-capability mode-change-neighbor octet-align crc bitrate "
    "mode useinbandfec usedtx stereo sprop-stereo cbr maxplaybackrate maxaveragebitrate sprop-maxcapturerate ptime "
    "minptime maxptime profile-level-id packetization-mode level-asymmetry-allowed max-red robust-sorting "
    "interleaving".split()
)
"""Format parameters that are shown."""

_LINE = re.compile(r"([A-Za-z])\s*=(.*)")
_SHORT = re.compile(r"[0-9]{1,6}|[0-9]{1,2}(,[0-9]{1,2}){1,8}|[0-9a-fA-F]{6}|yes|no")
_EVENTS = re.compile(r"[0-9]{1,3}(-[0-9]{1,3})?(,[0-9]{1,3}(-[0-9]{1,3})?)*")
_LIFE = re.compile(r"(2\^[0-9]{1,2}|[0-9]{1,6})")
_MKI = re.compile(r"[0-9]{1,6}:[0-9]{1,3}")
_SESSION_PARAM = re.compile(r"(KDR|WSH)=[0-9]{1,6}", re.IGNORECASE)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?")


# ---- SDP ----
def sdp_lines(body: bytes, masks: Masks) -> list[str]:
    """Return the lines of a session description."""
    text = body[: MAX_SDP_LINES * 1_000].decode("utf-8", "replace")
    lines = [each for each in text.replace("\r", "\n").split("\n") if each.strip()]
    return [_sdp_line(each, masks) for each in lines[:MAX_SDP_LINES]]


def _sdp_line(line: str, masks: Masks) -> str:
    found = _LINE.match(line.strip())
    if found is None:
        return f"({len(line)} characters that are no line of SDP)"
    letter, value = found[1].lower(), found[2].strip()
    show = LETTERS.get(letter)
    return f"{letter}={show(value, masks)}" if show else f"{letter}={MASK}"


def _version(value: str, _: Masks) -> str:
    return number(value)


def _origin(value: str, masks: Masks) -> str:
    words = value.split()
    if len(words) != 6:
        return MASK
    _user, session, version, *place = words
    return f"{MASK} {masks.word('id', session)} {masks.word('version', version)} {_place(place, masks)}"


def _connection(value: str, masks: Masks) -> str:
    return _place(value.split(), masks)


def _place(words: list[str], masks: Masks) -> str:
    if len(words) != 3:
        return MASK
    host, slash, _more = words[2].partition("/")
    shown = address(host) if is_address(host) else masks.word("host", host)
    return f"{one_of(words[0], ('IN',))} {one_of(words[1], ('IP4', 'IP6'))} {shown}{f'/{MORE}' if slash else ''}"


def _time(value: str, _: Masks) -> str:
    return " ".join("0" if word == "0" else MASK for word in value.split()[:2])


def _bandwidth(value: str, _: Masks) -> str:
    kind, _found, rate = value.partition(":")
    return f"{one_of(kind, ('CT', 'AS', 'TIAS', 'RS', 'RR'))}:{number(rate)}"


def _media(value: str, _: Masks) -> str:
    words = value.split()
    if len(words) < 3:
        return MASK
    port, slash, count = words[1].partition("/")
    ports = number(port) + (f"/{number(count)}" if slash else "")
    formats = " ".join(number(each) if len(each) <= 3 else MASK for each in words[3:])
    return f"{one_of(words[0], MEDIA)} {ports} {one_of(words[2], PROTOCOLS)} {formats}".rstrip()


def _attribute(value: str, masks: Masks) -> str:
    name, colon, rest = value.partition(":")
    name, rest = name.strip().lower(), rest.strip()
    show = ATTRIBUTES.get(name)
    if show is not None and colon:
        return f"{name}:{show(rest, masks)}"
    if name in FLAGS:
        return f"{name}:{MASK}" if colon else name
    return f"{name}:{MASK}" if name in NAMED else MASK


def _rtpmap(value: str, _: Masks) -> str:
    kind, _found, encoding = value.partition(" ")
    name, *rates = encoding.strip().split("/")
    shown = "/".join([name if name.upper() in CODECS else MASK, *map(number, rates[:2])])
    return f"{number(kind)} {shown}"


def _fmtp(value: str, _: Masks) -> str:
    kind, _found, rest = value.partition(" ")
    return f"{number(kind)} {'; '.join(_format_param(each.strip()) for each in rest.split(';') if each.strip())}"


def _format_param(text: str) -> str:
    if _EVENTS.fullmatch(text):
        return text
    name, equals, given = text.partition("=")
    if name.strip().lower() not in FMTP:
        return MORE
    return f"{name.strip()}={given.strip() if _SHORT.fullmatch(given.strip()) else MASK}" if equals else name.strip()


def _crypto(value: str, _: Masks) -> str:
    """Show a line of SDES (RFC 4568) without its key."""
    words = value.split()
    if len(words) < 3:
        return MASK
    tag, suite, keys, *flags = words
    shown = ";".join(f"inline:{MASK}{_key_params(each)}" for each in keys.split(";"))
    known = [each if each.lower() in CRYPTO_FLAGS or _SESSION_PARAM.fullmatch(each) else MORE for each in flags]
    return " ".join([number(tag), suite if suite in SUITES else MASK, shown, *known])


def _key_params(text: str) -> str:
    """Return lifetime and the length of the key's identifier, which say how a key is used."""
    found = text.split("|")[1:3]
    return "".join(f"|{each}" if _LIFE.fullmatch(each) or _MKI.fullmatch(each) else f"|{MASK}" for each in found)


def _rtcp(value: str, masks: Masks) -> str:
    port, *place = value.split()
    return " ".join([number(port), *([_place(place, masks)] if place else [])])


def _setup(value: str, _: Masks) -> str:
    return one_of(value, ("active", "passive", "actpass", "holdconn"))


def _label(value: str, masks: Masks) -> str:
    found = number(value)
    return found if found != MASK else masks.word("label", value)


def _plain_number(value: str, _: Masks) -> str:
    return number(value)


SdpShow = Callable[[str, Masks], str]
LETTERS: Mapping[str, SdpShow] = {
    "v": _version, "o": _origin, "c": _connection, "t": _time, "b": _bandwidth, "m": _media, "a": _attribute,
}  # fmt: skip
"""How the lines of a description are shown, by their letter; those of other letters are masked."""
ATTRIBUTES: Mapping[str, SdpShow] = {
    "rtpmap": _rtpmap, "fmtp": _fmtp, "crypto": _crypto, "rtcp": _rtcp, "setup": _setup, "label": _label,
    **dict.fromkeys(NUMBERS, _plain_number),
}  # fmt: skip
"""How attributes with a value are shown."""

# ---- metadata ----
ELEMENTS = {
    name.lower(): name
    for name in (
        "recording recording_metadata datamode group session participant nameID name aor stream label mode send recv "
        "sessionrecordingassoc sessionassoc participantsessionassoc participantstreamassoc associate-time "
        "disassociate-time start-time stop-time group-ref sipSessionID reason param extensiondata callId ucid "
        "associate participant-assoc stream-assoc requestsnapshot requestreason"
    ).split()
}
"""Names of elements that are shown."""
IDS = frozenset("participant_id session_id stream_id group_id id session participant stream parent".split())
"""Attributes, and elements, that hold ids."""
ID_ELEMENTS = frozenset(("send", "recv", "group-ref", "session", "participant", "stream", "sipsessionid", "group"))
TIMES = frozenset(("associate-time", "disassociate-time", "start-time", "stop-time"))
WORDS = {"datamode": ("complete", "partial"), "mode": ("mixed", "separate")}


def metadata_lines(body: bytes, masks: Masks) -> list[str]:
    """Return the elements of a document of recording metadata, one a line; its texts are masked."""
    reading = read(body, repair)
    note = [] if reading.damage is Damage.NONE else [f"(not well-formed: {reading.damage.value})"]
    if reading.root is None:
        return [f"({len(body)} bytes)", *note]
    lines: list[str] = []
    for line in _elements(reading.root, 0, masks):
        lines.append(line)
        if len(lines) >= MAX_ELEMENTS:
            lines.append(f"({MORE})")
            break
    return [*lines, *note]


def _elements(node: Node, depth: int, masks: Masks) -> Iterator[str]:
    name = node.name.lower()
    attributes = "".join(f" {_xml_attribute(*pair, masks)}" for pair in node.attributes.items())
    text = node.text.strip()
    yield f"{'  ' * depth}<{ELEMENTS.get(name, 'another')}{attributes}>{_text(name, text, masks) if text else ''}"
    if depth < MAX_DEPTH:
        for each in node.children:
            yield from _elements(each, depth + 1, masks)


def _xml_attribute(name: str, value: str, masks: Masks) -> str:
    known = name.lower()
    if known in IDS:
        return f'{known}="{masks.word("id", value)}"'
    if known == "aor":
        return f'aor="{masks.uri(value)}"'
    return f'{known if known in ELEMENTS else "another"}="{MASK}"'


def _text(name: str, text: str, masks: Masks) -> str:
    if name in WORDS:
        return one_of(text, WORDS[name])
    if name == "label":
        return _label(text, masks)
    if name == "aor":
        return masks.uri(text)
    if name in ID_ELEMENTS:
        return masks.word("id", text)
    return text if name in TIMES and _TIME.fullmatch(text) else MASK
