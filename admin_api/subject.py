"""Which parties of a call are the person an export was asked for, and whose its streams and their labels are; pure."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from storage import identity

OPAQUE = re.compile("[0-9]{1,2}")
"""A stream's label that names nobody: SBCs count 0, 1 or 10, 20; extensions have three digits or more."""
TAIL = 6  # digits that tell parties apart before they are looked at closely
_MEMBERS = ("name", "number", "uri", "user_id", "email", "upn")
_CACHED = 4096  # parties; the person asked for comes again in every call
_OTHER = re.compile(r"[^0-9]")
_ODD_DIGIT = re.compile(r"(?![0-9])\d")


def senders(stream: Mapping[str, Any]) -> int | list[int] | None:
    """Return whose voice or picture a stream holds, from its first packet on: one party, several, or None if unknown.

    A conclusion that nobody stated counts as unknown: if it is wrong, somebody else is heard.
    """
    party = stream.get("party")
    if party is None or stream.get("inferred"):
        return None
    everybody = dict.fromkeys([*(party if isinstance(party, list) else [party]), *(stream.get("earlier") or ())])
    return list(everybody) if len(everybody) > 1 or isinstance(party, list) else party


def without_names(streams: Sequence[Mapping[str, Any]], told: Collection[int]) -> list[Mapping[str, Any]]:
    """Return streams without the labels that may name anybody but the parties `told`.

    The client chooses a label, and a name or an extension is one: it is the data of whoever is heard in the stream, and
    of somebody unknown where nobody said who that is. What counts only is no data of anybody.
    """
    return [stream if _tellable(stream, told) else {**stream, "label": None} for stream in streams]


def _tellable(stream: Mapping[str, Any], told: Collection[int]) -> bool:
    label = stream.get("label")
    return label is None or bool(OPAQUE.fullmatch(str(label))) or senders(stream) in told


class Subject:
    """The person that a text means, read as erasures read it: exactly."""

    def __init__(self, party: str, country: str) -> None:
        self._needles = identity.asked(party, country, exact=True)
        probes = [needle.probe for needle in self._needles]
        # where only numbers can be meant, few parties need the 50 µs that reading a number takes
        self._tails = {p[-TAIL:] for p in probes} if all(p[:2] in ("e:", "x:") for p in probes) else None
        self._is_meant = functools.lru_cache(_CACHED)(self._look)
        self._country = country

    def of(self, parties: Sequence[Mapping[str, Any]]) -> frozenset[int]:
        """Return the numbers of the parties that are meant."""
        return frozenset(i for i, party in enumerate(parties) if self._meant(party))

    def _meant(self, party: Mapping[str, Any]) -> bool:
        values = tuple(text if isinstance(text := party.get(name), str) else None for name in _MEMBERS)
        return self._possible(values) and self._is_meant(values)

    def _possible(self, values: tuple[str | None, ...]) -> bool:
        if self._tails is None:
            return True
        written = " ".join(value for value in values if value)
        if not written.isascii():
            written = unicodedata.normalize("NFKC", written)
        if "%" in written or _ODD_DIGIT.search(written):
            return True  # digits can be written in many ways
        digits = _OTHER.sub("", written)
        return any(_OTHER.sub("", tail) in digits for tail in self._tails)

    def _look(self, values: tuple[str | None, ...]) -> bool:
        forms = identity.stored(dict(zip(_MEMBERS, values, strict=True)), self._country)
        return any(needle.meets(forms) for needle in self._needles)
