"""The parties of a call who are the subject of an export, and those to whom its streams and labels belong; pure."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from personal import Personal
from storage import search_forms
from storage.calls.call_document import Parties, Stream

OPAQUE = re.compile("[0-9]{1,2}")
"""A stream label that names nobody: SBCs use 0, 1 or 10, 20; extensions have three digits or more."""
TAIL = 6  # last digits, for a quick comparison before the full one
_MEMBERS = ("name", "number", "uri", "user_id", "email", "upn")
_CACHED = 4096  # parties; the person asked for comes again in every call
_OTHER = re.compile(r"[^0-9]")
_ODD_DIGIT = re.compile(r"(?![0-9])\d")


SEAM = timedelta(milliseconds=500)
"""Time around a change of speaker in which nobody is named: the client's message may be sent before or after the media
change, and both may be delayed (up to T1 of RFC 3261)."""


class Stretch(NamedTuple):
    """An interval of a stream, and the parties who are heard or seen in it."""

    begin: str | None
    """RFC 3339, None: from the first packet."""
    end: str | None
    """RFC 3339, None: to the last."""
    party: Parties
    """One party, several, or None if unknown; an inferred party counts as unknown."""


def stretches(stream: Stream) -> list[Stretch]:
    """Return who is heard or seen in a stream, interval by interval."""
    told = stream.get("speakers") or ()
    if not told:
        return [Stretch(None, None, senders(stream))]
    return [Stretch(each["from"], each["to"], None if each["inferred"] else each["party"]) for each in told]


def separable(stream: Stream) -> bool:
    """Return whether a stream holds exactly one known party at each moment."""
    return all(isinstance(each.party, int) for each in stretches(stream))


def moments(stream: Stream, mine: Collection[int]) -> list[tuple[datetime | None, datetime | None]] | None:
    """Return when a stream holds only these parties, None for always; None in a pair is the stream's begin or end.

    `SEAM` is left out at each change: there the voice may be somebody else's.
    """
    found: list[tuple[datetime | None, datetime | None]] = []
    for alone, group in itertools.groupby(stretches(stream), lambda each: _alone(each, mine)):
        parts = list(group)
        begin, end = parts[0].begin, parts[-1].end
        if alone and begin is None and end is None:
            return None
        first = None if begin is None else datetime.fromisoformat(begin) + SEAM
        last = None if end is None else datetime.fromisoformat(end) - SEAM
        if alone and (first is None or last is None or first < last):
            found.append((first, last))
    return found


def _alone(stretch: Stretch, mine: Collection[int]) -> bool:
    return isinstance(stretch.party, int) and stretch.party in mine


def senders(stream: Stream) -> Parties:
    """Return who is heard or seen in a stream since its first packet: one party, several, or None if unknown.

    An inferred party counts as unknown: if the inference were wrong, somebody else would be heard.
    """
    party = stream.get("party")
    if party is None or stream.get("inferred"):
        return None
    everybody = dict.fromkeys([*(party if isinstance(party, list) else [party]), *(stream.get("earlier") or ())])
    return list(everybody) if len(everybody) > 1 or isinstance(party, list) else party


def without_names(streams: Sequence[Stream], told: Collection[int]) -> list[Stream]:
    """Return streams without the labels that may name anybody but the parties `told`.

    The client chooses the labels, and one may be a name or an extension: it is personal data of whoever is heard in the
    stream, or of an unknown person if that is not stated. A label that is only a counter is not personal data.
    """
    return [stream if _tellable(stream, told) else {**stream, "label": None} for stream in streams]


def _tellable(stream: Stream, told: Collection[int]) -> bool:
    label, sent = stream.get("label"), senders(stream)
    if label is None or OPAQUE.fullmatch(str(label)):
        return True
    return all(party in told for party in (sent if isinstance(sent, list) else [sent]))


class Subject:
    """The person that a text names, matched exactly, as erasures do."""

    def __init__(self, party: Personal[str], country: str) -> None:
        self._needles = search_forms.asked(party.reveal(), country, exact=True)
        probes = [needle.probe for needle in self._needles]
        # if only numbers can match, most parties skip the 50 µs that parsing a number takes
        self._tails = {p[-TAIL:] for p in probes} if all(p[:2] in ("e:", "x:") for p in probes) else None
        self._is_meant = functools.lru_cache(_CACHED)(self._look)
        self._country = country

    def of(self, parties: Sequence[Mapping[str, object]]) -> frozenset[int]:
        """Return the numbers of the matching parties."""
        return frozenset(i for i, party in enumerate(parties) if self._meant(party))

    def _meant(self, party: Mapping[str, object]) -> bool:
        values = tuple(search_forms.revealed_text(party.get(name)) for name in _MEMBERS)
        return self._possible(values) and self._is_meant(values)

    def _possible(self, values: tuple[str | None, ...]) -> bool:
        if self._tails is None:
            return True
        written = " ".join(value for value in values if value)
        if not written.isascii():
            written = unicodedata.normalize("NFKC", written)
        if "%" in written or _ODD_DIGIT.search(written):
            return True  # Unicode has many digits
        digits = _OTHER.sub("", written)
        return any(_OTHER.sub("", tail) in digits for tail in self._tails)

    def _look(self, values: tuple[str | None, ...]) -> bool:
        forms = search_forms.stored(dict(zip(_MEMBERS, values, strict=True)), self._country)
        return any(needle.meets(forms) for needle in self._needles)
