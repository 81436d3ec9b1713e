"""What may stand in a log: a typed allow-list of fields, pseudonyms for people, and a mask for everything else.

Every line that leaves the daemon goes through `mask`. A field is written only if its name is on the list and its value
has the shape that the list promises; a telephone number under `count`, or a name under `call`, is masked all the same.
There is no unmasked mode.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, NoReturn, TypeVar

Value = TypeVar("Value")

MASK = "***"
MAX_ITEMS = 64  # entries of a list in one line; more is not read by anybody
MAX_SENTENCE = 300  # characters of a sentence for operators
MAX_COUNT = 10**9  # a count above that is none; keeps telephone numbers in E.164 out of plain number fields
MAX_SIZE = 10**18  # bytes or nanoseconds

METHODS = frozenset(
    "INVITE ACK BYE CANCEL OPTIONS UPDATE INFO PRACK REFER NOTIFY SUBSCRIBE PUBLISH MESSAGE REGISTER GET PUT "
    "POST DELETE PATCH HEAD".split()
)
SUITES = frozenset(
    "AES_CM_128_HMAC_SHA1_80 AES_CM_128_HMAC_SHA1_32 AES_256_CM_HMAC_SHA1_80 AES_256_CM_HMAC_SHA1_32 "
    "AEAD_AES_128_GCM AEAD_AES_256_GCM DTLS-SRTP".split()
)
CODECS = frozenset(
    "PCMU PCMA G722 G729 OPUS AMR AMR-WB ILBC GSM SPEEX L16 CN TELEPHONE-EVENT G723 G728 EVS SILK "
    "G726-16 G726-24 G726-32 G726-40 AAL2-G726-16 AAL2-G726-24 AAL2-G726-32 AAL2-G726-40 "
    "H264 H265 VP8 VP9 AV1 T140 RED".split()
)

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,4}")
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,47}")
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.<>]{0,63}")
_NAME = re.compile(r"[a-z0-9-]{1,40}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PSEUDONYM = re.compile(r"p-[0-9a-f]{16}")
_PLACE = re.compile(r"[A-Za-z0-9_.+/-]{1,120}\.py:[0-9]{1,6} [A-Za-z0-9_<>.]{1,80}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_ADDRESS = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[?[0-9a-f]{0,4}(?::[0-9a-f.]{0,15}){2,8}\]?)(?::[0-9]{1,5})?")
_LONG_DIGITS = re.compile(r"[0-9]{5}")
_PERSONAL = re.compile(
    r"""
    (?P<kept>(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?(?![0-9.]))  # a machine's address stays
    | \b(?:sips?|tel|mailto|urn|im|xmpp|inline):\S+                  # URIs and SDES keys
    | \b(?:bearer|basic|digest)\s+\S+                               # credentials
    | \S*@\S*                                                        # e-mail and anything like it
    | <[^>]*>? | "[^"]*"? | '[^']*'?                                 # what somebody quoted
    | \+?[0-9][0-9()./ -]{3,}[0-9]                                   # numbers, dates too
    | \b[A-Za-z0-9+_=-]*[0-9][A-Za-z0-9+_=-]{14,}                    # keys and tokens
    | \S*[^\x00-\x7f]\S*                                             # names that are not plain ASCII
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Kind(enum.Enum):
    """The shape a field promises."""

    EVENT = "event"  # dotted lower-case words of our own code
    WORD = "word"  # a lower-case code of our own: a reason, a state
    CLASS = "class"  # name of a class or of an error number
    METHOD = "method"  # a SIP or HTTP method; others come from outside and are not written
    SUITE = "suite"  # an SRTP suite
    CODEC = "codec"  # an encoding name that is registered; others come from outside
    NAME = "name"  # a configured name: customer, node, token
    CALL = "call"  # random id of a call, request or receipt
    PERSON = "person"  # a pseudonym
    COUNT = "count"  # a number below MAX_COUNT: counts, ports, statuses
    SIZE = "size"  # a large number: bytes, nanoseconds
    PLACE = "place"  # file:line function
    TIME = "time"  # RFC 3339, UTC
    ADDRESS = "address"  # IP address of a machine, with or without port
    SENTENCE = "sentence"  # words of our own for an operator; scrubbed once more


FIELDS: Mapping[str, Kind] = {
    **dict.fromkeys(("event",), Kind.EVENT),
    **dict.fromkeys(
        "level logger reason state result transport kind part job process action role outcome task format command "
        "version use".split(),
        Kind.WORD,
    ),
    **dict.fromkeys("error cause errno warning signal".split(), Kind.CLASS),
    "method": Kind.METHOD,
    "suite": Kind.SUITE,
    "codec": Kind.CODEC,
    **dict.fromkeys("customer node".split(), Kind.NAME),
    **dict.fromkeys("call request receipt export erasure".split(), Kind.CALL),
    **dict.fromkeys("person caller callee party user actor".split(), Kind.PERSON),
    **dict.fromkeys(
        "calls count suppressed packets lost late rejected foreign duplicates worker workers stream streams port "
        "status pid exit_status seconds milliseconds ms attempt limit sockets descriptors generation "
        "warnings days percent parts records entries line index listeners customers sessions connections "
        "retry_after added changed unmapped unchanged".split(),
        Kind.COUNT,
    ),
    **dict.fromkeys("bytes free_bytes ns size rate gap_ms duration_ms inodes".split(), Kind.SIZE),
    **dict.fromkeys("at raised_at".split(), Kind.PLACE),
    **dict.fromkeys("time since until".split(), Kind.TIME),
    **dict.fromkeys("peer address listener source".split(), Kind.ADDRESS),
    **dict.fromkeys("hint right path".split(), Kind.SENTENCE),
}


class Personal(Generic[Value]):
    """A personal value that cannot be printed by accident; `reveal()` hands it out on purpose."""

    __slots__ = ("_value",)

    def __init__(self, value: Value) -> None:
        self._value = value

    def reveal(self) -> Value:
        """Return the value, for sealing, searching and answering those who may see it."""
        return self._value

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Personal) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash((Personal, self._value))

    def __copy__(self) -> Personal[Value]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Personal[Value]:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a personal value is not pickled")


def pseudonym(key: bytes, customer: str, period: str, value: str) -> str:
    """Return the name a person goes by in the logs: the same within one customer and period, useless beyond.

    HMAC-SHA-256 cut to 64 bits; `value` is folded first, so that one number in two spellings is one person.
    """
    parts = (customer.encode(), period.encode(), _folded(value).encode("utf-8", "surrogatepass"))
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return "p-" + hmac.new(key, message, hashlib.sha256).hexdigest()[:16]


def _folded(value: str) -> str:
    """Return one spelling for numbers and for everything else."""
    bare = re.sub(r"[\s().\-/]", "", value)
    return bare if re.fullmatch(r"\+?[0-9]{3,}", bare) else value.strip().casefold()


def scrub(sentence: str) -> str:
    """Mask whatever in a sentence might be somebody's: the last resort, for words of our own only."""
    flat = " ".join(sentence[: MAX_SENTENCE * 4].split())
    return _PERSONAL.sub(lambda found: found["kept"] or MASK, flat)[:MAX_SENTENCE]


def mask(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a log line with nothing in it that the allow-list does not promise; unknown fields are counted only."""
    kept: dict[str, Any] = {}
    masked = 0
    for key, value in line.items():
        kind = FIELDS.get(key)
        if kind is None:
            masked += 1
        else:
            kept[key] = _masked(kind, value)
    if masked:
        kept["masked_fields"] = masked
    return kept


def _masked(kind: Kind, value: object) -> Any:
    """Return a value of the promised shape, or the mask."""
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [_one(kind, item) for item in list(items)[:MAX_ITEMS]]
    return _one(kind, value)


def _one(kind: Kind, value: object) -> Any:
    """Return one scalar of the promised shape, or the mask."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if kind in (Kind.COUNT, Kind.SIZE):
        return _number(value, MAX_COUNT if kind is Kind.COUNT else MAX_SIZE)
    if not isinstance(value, str):
        return MASK
    return _TEXTS[kind](str(value))


def _number(value: object, most: int) -> Any:
    """Return a number within bounds, fractions to the millionth."""
    if type(value) is int:
        return value if -most < value < most else MASK
    if type(value) is float:
        return round(value, 6) if -most < value < most else MASK  # NaN fails both comparisons
    return MASK


def _shape(pattern: re.Pattern[str], *, digits: bool) -> Callable[[str], str]:
    """Make a check of one shape; without `digits`, five digits in a row are somebody's number."""

    def check(value: str) -> str:
        fits = pattern.fullmatch(value) and (digits or not _LONG_DIGITS.search(value))
        return value if fits else MASK

    return check


def _member(words: frozenset[str]) -> Callable[[str], str]:
    """Make a check of a closed set of words."""

    def check(value: str) -> str:
        return value if value.upper() in words else MASK

    return check


_TEXTS: Mapping[Kind, Callable[[str], str]] = {
    Kind.EVENT: _shape(_EVENT, digits=False),
    Kind.WORD: _shape(_WORD, digits=False),
    Kind.CLASS: _shape(_CLASS, digits=False),
    Kind.METHOD: _member(METHODS),
    Kind.SUITE: _member(SUITES),
    Kind.CODEC: _member(CODECS),
    Kind.NAME: _shape(_NAME, digits=False),
    Kind.CALL: _shape(_UUID, digits=True),
    Kind.PERSON: _shape(_PSEUDONYM, digits=True),
    Kind.PLACE: _shape(_PLACE, digits=True),
    Kind.TIME: _shape(_TIME, digits=True),
    Kind.ADDRESS: _shape(_ADDRESS, digits=True),
    Kind.SENTENCE: scrub,
}
