"""A data subject's identities, from the request and the directory, and their comparison with the parties of a call.

Theory of operation. A *claim* is one identity of the person, as the request states it or as the directory has or had
it. For each party that a claim matches, `matches` looks up in the directory who the party was at the time of the call.
The party is certainly the person, possibly the person (with the reason, for an administrator to decide), or somebody
else. Pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from storage import search_forms
from storage.directory.user import NEVER, User
from storage.timestamps import from_micros, from_text

END = datetime.max.replace(tzinfo=UTC)
_MOMENT = timedelta(microseconds=1)

Who = Callable[[Mapping[str, Any], datetime], frozenset[str]]
"""Returns the users that a party may have been at a time according to the directory: none, one or several."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One identity of the data subject."""

    text: str = field(repr=False)
    """Identity as the request or the directory writes it."""
    kind: str
    """Kind of identity: number, address, name or user."""
    needles: tuple[search_forms.Needle, ...] = field(repr=False)
    """Search needles that find it."""
    directory: bool = False
    """Whether it comes from the directory; otherwise only the request states it."""
    until: datetime | None = None
    """When it stopped being the person's, None if it still is."""
    holders: frozenset[str] = frozenset()
    """Users who have it or ever had it."""

    @property
    def weak(self) -> bool:
        """Return whether many people may share it."""
        return self.kind == "name"


class Why(Enum):
    """How an identity relates to a matching party, as a sentence for the administrator, without names."""

    THEIRS = "It was the person's at that time."
    NAME = "Only the name matches; several people may have it."
    SEVERAL = "The directory gives it to several people at that time."
    OVER_TIME = "The directory gives it to several people over time; name the user to tell them apart."
    ANOTHER_TIME = "It was the person's at another time, and nobody's at that time."
    ANOTHERS = "The directory gives it to somebody else at another time."
    OTHER_PARTY = "Only the name matches; the directory takes the party for somebody else."


@dataclass(frozen=True, slots=True)
class Match:
    """The reason why a party of a call may be the person."""

    party: int
    """Number of the party."""
    claim: Claim
    """The claim that matches it."""
    why: Why
    """Relation of the identity and the party at that time."""

    @property
    def sure(self) -> bool:
        """Return whether the party certainly is the person."""
        return self.why is Why.THEIRS


def of_letter(texts: Iterable[str], country: str) -> list[Claim]:
    """Return the claims of a request."""
    return [Claim(text, kind(text), search_forms.asked(text, country, exact=True)) for text in texts]


def of_user(user: User, country: str) -> list[Claim]:
    """Return the claims of a directory user, present and former, including names."""
    found = [Claim(user.id, "user", search_forms.asked(user.id, country, exact=True), True)]
    for text, until in _identities(user):
        found.append(Claim(text, kind(text), search_forms.asked(text, country, exact=True), True, until))
    for text, until in _names(user):
        found.append(Claim(text, "name", search_forms.asked(text, country, exact=True), True, until))
    return list({claim.text: claim for claim in reversed(found)}.values())[::-1]


def kind(text: str) -> str:
    """Return the kind of identity that a text is."""
    if search_forms.is_number(text) or text.lower().startswith("tel:"):
        return "number"
    return "address" if "@" in text or ":" in text or not any(c.isspace() or c.isalpha() for c in text) else "name"


def matches(
    parties: Sequence[Mapping[str, Any]],
    at: datetime,
    claims: Sequence[Claim],
    user: str | None,
    who: Who,
    country: str,
) -> list[Match]:
    """Return why parties of a call may be the person, [] if none may be; `user`: the directory user, if known."""
    found = []
    for number, party in enumerate(parties):
        forms = frozenset(search_forms.stored(party, country))
        met = [claim for claim in claims if any(needle.meets(forms) for needle in claim.needles)]
        then = who(party, at) if met else frozenset()
        for claim in met:
            why = _with_user(claim, then, user) if user is not None else _without_user(claim, then)
            if why is not None:
                found.append(Match(number, claim, why))
    return found


def known_as(user: User, at: datetime) -> str:
    """Return the name that a user had in the directory at a time."""
    parts = []
    for name in ("first_name", "last_name"):
        later = [(end, each.value) for each in user.former if each.kind == name and (end := _time(each.until)) > at]
        parts.append(min(later)[1] if later else str(getattr(user.person, name)))
    return " ".join(part for part in parts if part)


def _with_user(claim: Claim, then: frozenset[str], user: str) -> Why | None:
    """Decide about a party that may have been any of the users `then`; return None if it was somebody else."""
    if then == {user}:
        return Why.THEIRS
    if user in then:
        return Why.NAME if claim.weak else Why.SEVERAL
    if then:
        return Why.OTHER_PARTY if claim.weak and not then & claim.holders else None
    if claim.weak:
        return Why.NAME
    if user in claim.holders:
        return Why.ANOTHER_TIME
    return Why.ANOTHERS if claim.holders else Why.THEIRS


def _without_user(claim: Claim, then: frozenset[str]) -> Why:
    """Decide about a party without knowing which user the person is."""
    if claim.weak:
        return Why.NAME
    if len(then) > 1:
        return Why.SEVERAL
    return Why.OVER_TIME if len(then | claim.holders) > 1 else Why.THEIRS


def _identities(user: User) -> list[tuple[str, datetime | None]]:
    """Return the identities of a user, each with its end."""
    return [(each.value, None if each.until == NEVER else from_micros(each.until)) for each in user.identities]


def _names(user: User) -> list[tuple[str, datetime | None]]:
    """Return every name of a user, each with its end."""
    ends = sorted({_time(each.until) for each in user.former if each.kind in ("first_name", "last_name")})
    now = (known_as(user, END), None)
    before = [(known_as(user, end - _MOMENT), end) for end in ends]
    return [(name, end) for name, end in (now, *before) if name]


def _time(text: str) -> datetime:
    """Parse the time at which a name ended; return END if it cannot be parsed."""
    try:
        return from_text(text)
    except ValueError:
        return END
