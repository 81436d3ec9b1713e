"""Which recordings belong to one call, and how certain that is: by names that clients give a call, never by guesses.

Two dialogs belong to one call if they share one of its names: an SBC that records to two recorders, a phone that sends
its near and far end separately (`x-refci`), a transfer that starts a new dialog in the same group, or both ends
recorded by two SBCs that pass on a UCID or a Session-ID. Times, addresses and phone numbers are not used: to match
those would be a guess. Values may be personal, so whoever stores them replaces them with keyed tokens first.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from personal import Personal
from sip.message.value import small_value

SHORTEST = 6
"""Shortest name that can distinguish calls: BroadWorks counts `2034:2`; `1` and `0` distinguish nothing."""
PLAINEST = 3
"""Different characters that a name must have: Session-ID, UUID and vendors write all zeros for unknown."""
PUNCTUATION = frozenset("-:@.")
"""Characters that do not count as different ones."""
MAX_NAMES = 32
"""Names of one recording that are kept; a dialog that carries many calls has more."""
_UUID = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\Z", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{22}==\Z")
_HALF = re.compile(r"[0-9a-f]{32}\Z", re.IGNORECASE)


class Sureness(StrEnum):
    """How much a common name proves."""

    STATED = "stated"  # the name identifies one call, and is unique in the world or in its system
    LIKELY = "likely"  # it names a contact of several calls, one leg, or a call in a system whose scope is unknown


@small_value
class CallName:
    """A name of a call that other recordings may share."""

    kind: str
    """Kind of the name: session, session-id, ucid, cisco-guid, x-refci, broadworks, group and so on."""
    value: Personal[str]
    """The name in canonical spelling, so that equal names are equal strings."""
    sure: Sureness
    """What it proves if another recording has it too."""

    @property
    def key(self) -> Personal[str]:
        """Return kind and value as one text."""
        return Personal(f"{self.kind}:{self.value.reveal()}")


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
"""The most certain first: the first name of a call is its group. Kinds not listed come last."""


def call_names(correlations: Iterable[tuple[str, Personal[str]]]) -> tuple[CallName, ...]:
    """Return the names of a call from `CallModel.correlations`, the most certain first, without duplicates."""
    pairs = [(kind, value.reveal()) for kind, value in correlations]
    written = (name for kind, value in pairs for name in _names(kind, value, pairs))
    found = [
        CallName(kind, Personal(value), sure) for kind, value, sure in dict.fromkeys(written) if _distinctive(value)
    ]
    ordered = sorted(found, key=lambda name: (name.sure is not Sureness.STATED, _rank(name.kind)))
    return tuple(ordered[:MAX_NAMES])


def call_group(names: Iterable[CallName]) -> CallName | None:
    """Return the name under which recordings of one call are shown; None if the client named none.

    It stays the same while the client adds names of lesser weight. Recordings may be related although their most
    certain names differ.
    """
    return next(iter(names), None)


def _names(kind: str, value: str, pairs: list[tuple[str, str]]) -> Iterator[tuple[str, str, Sureness]]:
    if kind in ("session-id", "sip-session-id"):
        yield from _session_id(value)
    elif kind == "x-refci":
        # A reference is unique within one cluster of call managers.
        cluster = next((text for name, text in pairs if name == "x-nearendclusterid"), "")
        yield (kind, f"{value}@{cluster}".lower(), Sureness.STATED if cluster else Sureness.LIKELY)
    elif kind in _STATED:
        yield (_STATED[kind], _plain(value), Sureness.STATED)
    elif kind in _LIKELY:
        yield (_LIKELY[kind], _plain(value), Sureness.LIKELY)


def _session_id(value: str) -> Iterator[tuple[str, str, Sureness]]:
    """Parse a Session-ID (RFC 7989): both halves name the call, one only its end; some clients put a Call-ID there."""
    text = "".join(value.split()).lower()
    near, _, tail = text.partition(";")
    far = next((word[7:] for word in tail.split(";") if word.startswith("remote=")), "")
    halves = [half for half in (near, far) if _HALF.match(half) and _distinctive(half)]
    if len(halves) == 2:
        # The two ends of a call write the halves in opposite order.
        yield ("session-id", "+".join(sorted(halves)), Sureness.STATED)
    for half in halves:
        yield ("session-id-half", half, Sureness.LIKELY)
    if near and not halves:
        yield ("sip-call-id", near, Sureness.LIKELY)


def _plain(value: str) -> str:
    """Return the canonical spelling: of a UUID its hexadecimal digits, of anything else the text without blanks."""
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


def _distinctive(value: str) -> bool:
    """Return whether a name can distinguish calls at all."""
    return len(value) >= SHORTEST and len(set(value.lower()) - PUNCTUATION) >= PLAINEST


def _rank(kind: str) -> int:
    return _RANK.index(kind) if kind in _RANK else len(_RANK)
