"""Which recordings belong to one call, and how surely: by the names clients give a call, never by a guess.

Two dialogs are of one call if they share a name of it: an SBC that records to two recorders, a phone that sends its
near and far end apart (`x-refci`), a transfer that begins a new dialog in the same group, both ends recorded by two
SBCs that pass on a UCID or a Session-ID. Time, addresses and phone numbers are not looked at: who calls whom at the
same moment is a guess. Values may be personal; whoever stores them puts them under a key first.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

SHORTEST = 6
"""Characters of a name that can tell calls apart: BroadWorks counts `2034:2`; `1` and `0` are nobody's name."""
PLAINEST = 3
"""Different characters it must have: all zeros is how Session-ID, UUID and vendors say that they do not know."""
MAX_NAMES = 32
"""Names of one recording; more come from a dialog that carries call after call."""
_UUID = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\Z", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{22}==\Z")
_HALF = re.compile(r"[0-9a-f]{32}\Z", re.IGNORECASE)


class Sureness(StrEnum):
    """Say how much a common name proves."""

    STATED = "stated"  # the name is made to name one call, and is unique in the world or its system
    LIKELY = "likely"  # it names a contact of several calls, one leg, or a call in a system whose scope we do not know


@dataclass(frozen=True, slots=True)
class CallName:
    """One name of a call that other recordings may share."""

    kind: str
    """What sort of name: session, session-id, ucid, cisco-guid, x-refci, broadworks, group and so on."""
    value: str
    """The name in a spelling of its own, so that equal names are equal strings."""
    sure: Sureness
    """What it proves if another recording has it too."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


_STATED = {"session": "session", "ucid": "ucid", "cisco-guid": "cisco-guid", "x-refci": "x-refci"} | dict.fromkeys(
    ("ext-tracking-id", "broadworks-correlation"), "broadworks"
)
_LIKELY = {
    "group": "group",
    "gcid": "gcid",
    "cisco-gucid": "cisco-gucid",
    "genesys-uuid": "genesys-uuid",
    "genesys-call-uuid": "genesys-uuid",
    "genesys-gvp-session": "genesys-gvp-session",
    "call-sid": "call-sid",
    "twilio-call-sid": "call-sid",
    "audiocodes-call-id": "audiocodes-call-id",
    "acme-call-id": "acme-call-id",
}
_RANK = ("session", "ucid", "cisco-guid", "x-refci", "broadworks", "session-id")
"""The surest first: of several names of a call the first one is its group. Those not listed come behind."""


def call_names(correlations: Iterable[tuple[str, str]]) -> tuple[CallName, ...]:
    """Give the names of a call out of `CallModel.correlations`, the surest first, each once."""
    pairs = list(correlations)
    found = dict.fromkeys(name for kind, value in pairs for name in _names(kind, value, pairs) if _tells(name.value))
    ordered = sorted(found, key=lambda name: (name.sure is not Sureness.STATED, _rank(name.kind)))
    return tuple(ordered[:MAX_NAMES])


def call_group(names: Iterable[CallName]) -> CallName | None:
    """Give the name under which recordings of the same call are shown; None if the client named none.

    It is stable while the client adds names of lesser weight. Recordings whose surest names differ may still be
    related.
    """
    return next(iter(names), None)


def _names(kind: str, value: str, pairs: list[tuple[str, str]]) -> Iterator[CallName]:
    if kind in ("session-id", "sip-session-id"):
        yield from _session_id(value)
    elif kind == "x-refci":
        # A reference counts inside one cluster of call managers.
        cluster = next((text for name, text in pairs if name == "x-nearendclusterid"), "")
        yield CallName(kind, f"{value}@{cluster}".lower(), Sureness.STATED if cluster else Sureness.LIKELY)
    elif kind in _STATED:
        yield CallName(_STATED[kind], _plain(value), Sureness.STATED)
    elif kind in _LIKELY:
        yield CallName(_LIKELY[kind], _plain(value), Sureness.LIKELY)


def _session_id(value: str) -> Iterator[CallName]:
    """Read a Session-ID (RFC 7989): both halves name the call, each only its own end; some put a Call-ID there."""
    text = "".join(value.split()).lower()
    near, _, tail = text.partition(";")
    far = next((word[7:] for word in tail.split(";") if word.startswith("remote=")), "")
    halves = [half for half in (near, far) if _HALF.match(half) and _tells(half)]
    if len(halves) == 2:
        # The two ends of a call write the halves the other way round.
        yield CallName("session-id", "+".join(sorted(halves)), Sureness.STATED)
    for half in halves:
        yield CallName("session-id-half", half, Sureness.LIKELY)
    if near and not halves:
        yield CallName("sip-call-id", near, Sureness.LIKELY)


def _plain(value: str) -> str:
    """Write a name in one spelling: a UUID in hexadecimal digits however it came, anything else without blanks."""
    text = "".join(value.split())
    uuid = _UUID.match(text)
    if uuid:
        return uuid[1].replace("-", "").lower()
    if _BASE64.match(text):
        try:
            return base64.b64decode(text, validate=True).hex()
        except binascii.Error:
            return text
    return text


def _tells(value: str) -> bool:
    """Tell whether a name can tell calls apart at all."""
    return len(value) >= SHORTEST and len(set(value.lower()) - set("-:@.")) >= PLAINEST


def _rank(kind: str) -> int:
    return _RANK.index(kind) if kind in _RANK else len(_RANK)
