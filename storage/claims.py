"""Whose identity it was when: what a person goes by in a letter and in the directory, held against a call; pure.

Theory of operation. A *claim* is one identity of the person who asks: as the letter has it, or as the directory has or
had it, with the time for which it was theirs. A *holder* is a user of the directory with the spans in which the
identities at stake were that user's. For each party of a call that a claim meets, `judge` says: the person for sure,
the person perhaps (with the reason, for an administrator to decide), or somebody else.

Where a directory tells no beginning, an identity begins when the last other user who had it ceased to have it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from storage import identity
from storage.instants import from_text
from storage.people import IDENTITIES, User, values

STRONG = ("e:", "x:", "u:")  # forms that are one person's at a time; last digits and words of names are not
BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claim:
    """One identity of the person who asks."""

    text: str = field(repr=False)
    """As the letter or the directory writes it."""
    kind: str
    """number, address, name or user."""
    needles: tuple[identity.Needle, ...] = field(repr=False)
    """What meets it."""
    directory: bool = False
    """The directory says so; otherwise only the letter does."""
    until: datetime | None = None
    """When it ceased to be the person's, None if it did not."""

    @property
    def weak(self) -> bool:
        """Say whether many people may go by it."""
        return self.kind == "name"


@dataclass(frozen=True, slots=True)
class Span:
    """One identity of a user of the directory."""

    forms: frozenset[str] = field(repr=False)
    """Its strong forms."""
    since: datetime = BEGINNING
    """From when on it was the user's."""
    until: datetime = END
    """Until when it was."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A user who has or had something that the person goes by."""

    user: str
    """Id of the user."""
    spans: tuple[Span, ...] = field(repr=False)
    """Every identity of the user."""
    namesake: bool
    """Goes by a name of the person."""

    def has(self, forms: frozenset[str], at: datetime) -> bool:
        """Say whether any of these forms was the user's then."""
        return any(span.since <= at < span.until and span.forms & forms for span in self.spans)

    def ever(self, forms: frozenset[str]) -> bool:
        """Say whether any of these forms was the user's at any time."""
        return any(span.forms & forms for span in self.spans)


@dataclass(frozen=True, slots=True)
class Match:
    """Why a party of a call may be the person."""

    party: int
    """Number of the party."""
    claim: Claim
    """What it goes by."""
    sure: bool
    """No doubt is known."""
    why: str
    """A sentence for the administrator, without anybody's name."""


def of_letter(texts: Iterable[str], country: str) -> list[Claim]:
    """Return what a letter claims."""
    return [Claim(text, kind(text), identity.asked(text, country, exact=True)) for text in texts]


def of_user(user: User, country: str) -> list[Claim]:
    """Return what the directory claims for a user, today and before, names included."""
    found = [Claim(user.id, "user", identity.asked(user.id, country, exact=True), True)]
    for text, until in _identities(user):
        found.append(Claim(text, kind(text), identity.asked(text, country, exact=True), True, until))
    for text, until in _names(user):
        found.append(Claim(text, "name", identity.asked(text, country, exact=True), True, until))
    return list({(claim.text, claim.until): claim for claim in found}.values())


def kind(text: str) -> str:
    """Say how a text names somebody."""
    if identity.is_number(text) or text.lower().startswith("tel:"):
        return "number"
    return "address" if "@" in text or ":" in text or not any(c.isspace() or c.isalpha() for c in text) else "name"


def holder(user: User, claims: Sequence[Claim], country: str) -> Holder:
    """Return a user as a holder of identities."""
    spans = [Span(strong(text, country), BEGINNING, until or END) for text, until in _identities(user)]
    names = [identity.stored({"name": text}, country) for text, _ in _names(user)]
    weak = [needle for claim in claims if claim.weak for needle in claim.needles]
    return Holder(user.id, tuple(spans), any(needle.meets(forms) for needle in weak for forms in names))


def settled(holders: Sequence[Holder]) -> tuple[Holder, ...]:
    """Let each identity begin when the last other holder of it ceased to have it."""
    made = []
    for one in holders:
        others = [span for other in holders if other is not one for span in other.spans]
        spans = [replace(span, since=max([span.since, *_ends(span, others)])) for span in one.spans]
        made.append(replace(one, spans=tuple(spans)))
    return tuple(made)


def _ends(span: Span, others: Iterable[Span]) -> list[datetime]:
    return [other.until for other in others if other.until < span.until and other.forms & span.forms]


def strong(text: str, country: str) -> frozenset[str]:
    """Return the forms of an identity that are one person's at a time."""
    found = identity.stored({"number": text} if identity.is_number(text) else {"uri": text}, country)
    return frozenset(form for form in found if form[:2] in STRONG)


def matches(
    parties: Sequence[Mapping[str, Any]],
    at: datetime,
    claims: Sequence[Claim],
    holders: Sequence[Holder],
    user: str | None,
    country: str,
) -> list[Match]:
    """Return why parties of a call may be the person, [] if none is."""
    found = []
    for number, party in enumerate(parties):
        forms = frozenset(identity.stored(party, country))
        for claim in claims:
            if any(needle.meets(forms) for needle in claim.needles):
                verdict = _judge(claim, party, forms, at, holders, user)
                if verdict is not None:
                    found.append(Match(number, claim, *verdict))
    return found


Verdict = tuple[bool, str]
_SURE: Verdict = (True, "It is the person's identity at that time.")
_NAME: Verdict = (False, "Only the name matches; several people may go by it.")
_SEVERAL: Verdict = (False, "The directory gives it to several people at that time.")
_OVER_TIME: Verdict = (False, "The directory gives it to several people over time; name the user to tell them apart.")
_OVER: Verdict = (False, "It was the person's before that time, and nobody's then.")
_OTHERS_NAME: Verdict = (False, "Only the name matches; the directory takes the party for somebody else.")


def _judge(
    claim: Claim,
    party: Mapping[str, Any],
    forms: frozenset[str],
    at: datetime,
    holders: Sequence[Holder],
    user: str | None,
) -> Verdict | None:
    """Decide about one party that a claim meets; None: it is somebody else."""
    who = _who(party, forms, at, holders)
    if user is None:
        return _without_user(claim, who, forms, holders)
    if who == {user}:
        return _SURE
    if user in who:
        return _NAME if claim.weak else _SEVERAL
    if who:
        namesakes = {one.user for one in holders if one.namesake}
        return _OTHERS_NAME if claim.weak and not who & namesakes else None
    if claim.weak:
        return _NAME
    mine = next((one for one in holders if one.user == user), None)
    return _OVER if mine is not None and mine.ever(forms) else _SURE


def _who(party: Mapping[str, Any], forms: frozenset[str], at: datetime, holders: Sequence[Holder]) -> set[str]:
    """Return the users whom the directory takes a party for: as the call was matched, else as it says now."""
    known = party.get("user_id")
    if isinstance(known, str) and known:
        return {known}
    several = party.get("user_candidates")
    if isinstance(several, list) and several:
        return {str(each) for each in several}
    return {one.user for one in holders if one.has(forms, at)}


def _without_user(claim: Claim, who: set[str], forms: frozenset[str], holders: Sequence[Holder]) -> Verdict:
    """Decide where nobody said which user the person is."""
    if claim.weak:
        return _NAME
    if len(who) > 1:
        return _SEVERAL
    ever = who | {one.user for one in holders if one.ever(forms)}
    return _OVER_TIME if len(ever) > 1 else _SURE


def _identities(user: User) -> list[tuple[str, datetime | None]]:
    """Return what a party can be recognised by, and until when it was the user's."""
    now: list[tuple[str, datetime | None]] = [(v, None) for name in IDENTITIES for v in values(user.person, name)]
    before = [(each.value, _time(each.until)) for each in user.former if each.kind in IDENTITIES]
    return [(text, until) for text, until in (*now, *before) if text.strip()]


def _names(user: User) -> list[tuple[str, datetime | None]]:
    """Return every name that a user had, with its end."""
    ends = sorted({at for each in user.former if each.kind in ("first_name", "last_name") and (at := _time(each.until))})
    moments: list[datetime | None] = [*ends, None]
    found = [(known_as(user, _before(end)), end) for end in moments]
    return [(name, end) for name, end in found if name]


def known_as(user: User, at: datetime) -> str:
    """Return what the directory called a user at a time."""
    parts = []
    for name in ("first_name", "last_name"):
        later = [each for each in user.former if each.kind == name and (end := _time(each.until)) and end > at]
        first = min(later, key=lambda each: each.until, default=None)
        parts.append(first.value if first is not None else getattr(user.person, name))
    return " ".join(part for part in parts if part)


def _before(end: datetime | None) -> datetime:
    return END if end is None else end - timedelta(microseconds=1)


def _time(text: str) -> datetime | None:
    try:
        return from_text(text)
    except ValueError:
        return None
