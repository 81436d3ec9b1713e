"""What a log may contain: an allow-list of typed fields, pseudonyms for people, and a mask for everything else.

Every line that leaves the daemon goes through `mask`. A field is written only if its name is on the list and its value
has the shape that the list promises; a telephone number under `count`, or a name under `call`, is masked.
There is no unmasked mode.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from personal import MASK
from sip.sdp.sdes import SUPPORTED

MAX_ITEMS = 64  # entries of a list in one line; nobody reads more
MAX_SENTENCE = 300  # characters of a sentence for operators
MIN_DIGITS = 7  # of a telephone number (storage.search_forms.MIN_E164); no field shows so many in a row
MAX_EXACT = 10 ** (MIN_DIGITS - 1)  # smaller numbers have fewer digits and are written exactly
MAX_SIZE = 10**18  # bytes or nanoseconds; more is a mistake
WHOLE = 1000  # smaller numbers keep three decimals: six digits in all
YEARS = range(2000, 2200)  # of times that are written
PREFIXES = (128, 64, 48, 32)  # bits of an IPv6 address that are shown: the first that does not look like a number

METHODS = frozenset(
    "INVITE ACK BYE CANCEL OPTIONS UPDATE INFO PRACK REFER NOTIFY SUBSCRIBE PUBLISH MESSAGE REGISTER GET PUT "
    "POST DELETE PATCH HEAD".split()
)
SUITES = SUPPORTED | {"DTLS-SRTP"}
CODECS = frozenset(
    "PCMU PCMA G722 G729 OPUS AMR AMR-WB ILBC GSM SPEEX L16 CN TELEPHONE-EVENT G723 G728 EVS SILK "
    "G726-16 G726-24 G726-32 G726-40 AAL2-G726-16 AAL2-G726-24 AAL2-G726-32 AAL2-G726-40 "
    "H264 H265 VP8 VP9 AV1 T140 RED".split()
)

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,4}")
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,47}")
_SETTING = re.compile(r"[a-z_]{1,20}(\[[0-9]{1,4}\])?(\.[a-z_]{1,20}(\[[0-9]{1,4}\])?){0,3}")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}([a-z.+-]{1,4}[0-9]{1,4})?")
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>]{0,63}")
_NAME = re.compile(r"[a-z0-9-]{1,40}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PSEUDONYM = re.compile(r"p-[0-9a-f]{16}")
_PLACE = re.compile(r"[A-Za-z0-9_.+/-]{1,120}\.py:[0-9]{1,6} [A-Za-z0-9_<>.]{1,80}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_ADDRESS = re.compile(r"([0-9.]{7,15}|[0-9a-f:.]{2,45}|\[([0-9a-f:.]{2,45})\])(?::([0-9]{1,5}))?", re.IGNORECASE)
_LONG_DIGITS = re.compile(r"[0-9]{5}")
_NUMBER = re.compile(rf"[0-9](?:[^A-Za-z0-9]*[0-9]){{{MIN_DIGITS - 1}}}")  # with any separators between its digits
_PERSONAL = re.compile(
    r"""
    (?P<kept>(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?(?![0-9.]))  # a machine's address stays
    | \b(?:sips?|tel|mailto|urn|im|xmpp|inline):\S+                  # URIs and SDES keys
    | \b(?:bearer|basic|digest)\s+\S+                               # credentials
    | \S*@\S*                                                        # e-mail and anything like it
    | <[^>]*>? | "[^"]*"? | '[^']*'?                                 # what somebody quoted
    | \+?[0-9][0-9()./ -]{3,}[0-9]                                   # numbers, dates too
    | \+?[0-9](?:[^A-Za-z0-9]{0,3}[0-9]){4,}                         # the same, whatever stands between their digits
    | \b[A-Za-z0-9+_=-]*[0-9][A-Za-z0-9+_=-]{14,}                    # keys and tokens
    | \S*[^\x00-\x7f]\S*                                             # names that are not plain ASCII
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Kind(enum.Enum):
    """The shape that a field must have."""

    EVENT = "event"  # dotted lower-case words of our own code
    WORD = "word"  # a lower-case code of our own: a reason, a state
    SETTING = "setting"  # a key of the configuration
    CLASS = "class"  # name of a class or of an error number
    METHOD = "method"  # a SIP or HTTP method; unknown ones come from outside and are not written
    SUITE = "suite"  # an SRTP suite
    CODEC = "codec"  # a registered encoding name; others come from outside
    NAME = "name"  # a configured name: customer, node, token
    CALL = "call"  # random id of a call, request or receipt
    PERSON = "person"  # a pseudonym
    COUNT = "count"  # a small number: ports, statuses, days; LIMITS has the largest
    SIZE = "size"  # a number that may be large: calls, bytes, nanoseconds; from MAX_EXACT on three digits of it
    VERSION = "version"  # of this program
    PLACE = "place"  # file:line function
    TIME = "time"  # RFC 3339, UTC
    ADDRESS = "address"  # IP address of a machine, with or without port
    SENTENCE = "sentence"  # our own words for an operator; personal data is removed once more


FIELDS: Mapping[str, Kind] = {
    **dict.fromkeys(("event",), Kind.EVENT),
    **dict.fromkeys(
        "level logger reason state result transport kind part job process action role outcome task format command "
        "use transport".split(),
        Kind.WORD,
    ),
    **dict.fromkeys("error cause errno warning signal".split(), Kind.CLASS),
    "setting": Kind.SETTING,
    "version": Kind.VERSION,
    "method": Kind.METHOD,
    "suite": Kind.SUITE,
    "codec": Kind.CODEC,
    **dict.fromkeys("customer node".split(), Kind.NAME),
    **dict.fromkeys("call request receipt export erasure".split(), Kind.CALL),
    **dict.fromkeys("person caller callee party user actor".split(), Kind.PERSON),
    **dict.fromkeys(
        "worker workers stream streams port status pid exit_status seconds milliseconds ms attempt limit sockets "
        "descriptors generation warnings days percent parts line index listeners customers sessions connections "
        "retry_after".split(),
        Kind.COUNT,
    ),
    **dict.fromkeys(
        "calls count suppressed packets lost late rejected foreign duplicates records entries added changed unmapped "
        "unchanged bytes free_bytes ns size rate gap_ms duration_ms inodes".split(),
        Kind.SIZE,
    ),
    **dict.fromkeys("at raised_at".split(), Kind.PLACE),
    **dict.fromkeys("time since until".split(), Kind.TIME),
    **dict.fromkeys("peer address listener source".split(), Kind.ADDRESS),
    **dict.fromkeys("hint right path".split(), Kind.SENTENCE),
}

LIMITS: Mapping[str, int] = {
    "port": 65_535,
    "status": 699,  # the last of SIP; those of HTTP end lower
    "exit_status": 255,
    "percent": 100,
    "worker": 9_999,
    "workers": 9_999,
    "days": 99_999,
}
"""The largest values of numbers with a natural limit; for other fields of Kind.COUNT it is MAX_EXACT - 1."""


def scrub(sentence: str) -> str:
    """Mask everything in a sentence that may be personal: the last safeguard, for our own words only."""
    flat = " ".join(sentence[: MAX_SENTENCE * 4].split())
    return _PERSONAL.sub(_unless_address, flat)[:MAX_SENTENCE]


def _unless_address(found: re.Match[str]) -> str:
    """Mask a match unless it is the address of a machine."""
    return _address(found["kept"]) if found["kept"] else MASK


LASTING = frozenset((Kind.EVENT, Kind.WORD, Kind.METHOD, Kind.SUITE, Kind.CODEC, Kind.NAME, Kind.ADDRESS))
"""Kinds of which a node has few values, which come again in every line."""

MAX_PASSED = 4096
_passed: set[tuple[str, str]] = set()  # fields and values that were looked at and may be written as they are


_SEVERAL = (list, tuple, set, frozenset)  # as a tuple: a union would be made anew for each field


def mask(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a log line with nothing in it that the allow-list does not allow; unknown fields are only counted."""
    kept: dict[str, Any] = {}
    masked = 0
    for key, value in line.items():
        if type(value) is str and (key, value) in _passed:
            kept[key] = value
            continue
        kind = FIELDS.get(key)
        if kind is None:
            masked += 1
        else:
            kept[key] = _masked(key, kind, value)
    if masked:
        kept["masked_fields"] = masked
    return kept


def _masked(key: str, kind: Kind, value: object) -> Any:
    """Return a value of the expected shape, or the mask."""
    if isinstance(value, _SEVERAL):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [_known(key, kind, item) for item in list(items)[:MAX_ITEMS]]
    return _known(key, kind, value)


def _known(key: str, kind: Kind, value: object) -> Any:
    """Return one scalar, without checking it again if the same one has passed before."""
    if type(value) is str and (key, value) in _passed:
        return value
    found = _one(kind, value, LIMITS.get(key, MAX_EXACT - 1))
    if type(value) is str and found == value and kind in LASTING:
        if len(_passed) >= MAX_PASSED:
            _passed.clear()
        _passed.add((key, value))
    return found


def _one(kind: Kind, value: object, most: int) -> Any:
    """Return one scalar of the expected shape, or the mask."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if kind in (Kind.COUNT, Kind.SIZE):
        if type(value) not in (int, float):
            return MASK
        return _number(value, most) if kind is Kind.COUNT else _size(value)
    if not isinstance(value, str):
        return MASK
    return _TEXTS[kind](str(value))


def _number(value: Any, most: int) -> int | float | str:
    """Return a number within a bound of at most six digits, with at most three decimals."""
    if not -most <= value <= most:  # NaN is not
        return MASK
    if isinstance(value, int):
        return value
    known = float(value)
    return round(known, 3) if -WHOLE < known < WHOLE else round(known)


def _size(value: Any) -> int | float | str:
    """Return a number; a large one as text with three digits, such as "4.92e+12", which is no telephone number."""
    if not -MAX_SIZE < value < MAX_SIZE:
        return MASK
    return _number(value, MAX_EXACT) if -MAX_EXACT < value < MAX_EXACT else f"{value:.2e}"


def _shape(pattern: re.Pattern[str], *, digits: bool = False) -> Callable[[str], str]:
    """Make a check of one shape; without `digits`, five digits in a row, or seven with separators, are masked."""

    def check(value: str) -> str:
        fits = pattern.fullmatch(value) and (digits or not (_LONG_DIGITS.search(value) or _NUMBER.search(value)))
        return value if fits else MASK

    return check


def _time(value: str) -> str:
    """Check that a value is a time."""
    try:
        year = datetime.fromisoformat(value).year if _TIME.fullmatch(value) else 0
    except ValueError:
        year = 0
    return value if year in YEARS else MASK


def _place(value: str) -> str:
    """Check a place in the code; its line number is not a telephone number."""
    return value if _PLACE.fullmatch(value) and not _NUMBER.search(value) else MASK


def _address(value: str) -> str:
    """Return an address as ipaddress writes it; only the network of an IPv6 address that looks like a number.

    Hexadecimal groups may all be decimal: 1::4915:1123:4567. An IPv4 address has at most three digits between dots.
    """
    found = _ADDRESS.fullmatch(value)
    if found is None:
        return MASK
    try:
        known = ipaddress.ip_address(found[2] or found[1])
    except ValueError:
        return MASK
    tail = f":{int(found[3])}" if found[3] else ""
    if tail and int(found[3]) > LIMITS["port"]:
        return MASK
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    if isinstance(known, ipaddress.IPv4Address):
        return f"{known}{tail}"
    for bits in PREFIXES:
        network = ipaddress.IPv6Network((known, bits), strict=False)
        shown = str(known) if bits == known.max_prefixlen else str(network)
        if not _NUMBER.search(shown + tail):
            return f"[{shown}]{tail}" if tail else shown
    return MASK


def _member(words: frozenset[str]) -> Callable[[str], str]:
    """Make a check for a closed set of words."""

    def check(value: str) -> str:
        return value if value.upper() in words else MASK

    return check


_TEXTS: Mapping[Kind, Callable[[str], str]] = {
    Kind.EVENT: _shape(_EVENT),
    Kind.WORD: _shape(_WORD),
    Kind.SETTING: _shape(_SETTING),
    Kind.CLASS: _shape(_CLASS),
    Kind.METHOD: _member(METHODS),
    Kind.SUITE: _member(SUITES),
    Kind.CODEC: _member(CODECS),
    Kind.NAME: _shape(_NAME),
    Kind.CALL: _shape(_UUID, digits=True),
    Kind.PERSON: _shape(_PSEUDONYM, digits=True),
    Kind.VERSION: _shape(_VERSION),
    Kind.PLACE: _place,
    Kind.TIME: _time,
    Kind.ADDRESS: _address,
    Kind.SENTENCE: scrub,
}
