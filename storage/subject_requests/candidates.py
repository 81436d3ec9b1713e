"""Calls that may concern a data subject, found under all identities of the person, each with the reasons.

    found = await customer.candidates.find(asked)        newest first; raises TooManyCalls, StorageError

Every claim (storage.subject_requests.claims) is searched in the index in any spelling. The calls found are opened and
compared with the directory as it was when the call began. Calls in which the identity belonged to somebody else are
left out.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from personal import Personal
from storage.calls.call_index import Batch, CallRow, Calls, Query
from storage.calls.call_row import Position
from storage.directory import match_keys
from storage.directory.matcher import UserMatcher
from storage.directory.user import User
from storage.directory.user_lookup import UserLookup
from storage.directory.user_store import Users
from storage.errors import StorageError
from storage.subject_requests import claims
from storage.subject_requests.case_rows import Asked
from storage.subject_requests.claims import Claim, Match
from storage.timestamps import to_micros

MAX_CALLS = 20_000  # candidates of one request: nobody can review more, and such a name identifies nobody
BATCH = 500  # calls opened together, in a thread: 100 ms


class TooManyCalls(StorageError):
    """Too many calls match, so the identities do not identify one person."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A call that may concern the person."""

    row: CallRow
    """The call."""
    matches: tuple[Match, ...]
    """Reasons why it may concern the person."""
    known_as: str = field(default="", repr=False)
    """Name of the user in the directory at that time."""

    @property
    def sure(self) -> bool:
        """Return whether at least one party certainly is the person."""
        return any(match.sure for match in self.matches)

    @property
    def parties(self) -> tuple[int, ...]:
        """Return the numbers of the parties that are the person, () if several may be and somebody must decide."""
        sure = {match.party for match in self.matches if match.sure}
        perhaps = {match.party for match in self.matches}
        return tuple(sorted(sure)) if sure else tuple(perhaps) if len(perhaps) == 1 else ()


class Candidates:
    """Finds the calls that concern a person, for one customer."""

    def __init__(self, calls: Calls, users: Users, user_matcher: UserMatcher, country: str) -> None:
        self._calls = calls
        self._users = users
        self._user_matcher = user_matcher
        self._country = country

    async def find(self, asked: Asked) -> list[Candidate]:
        """Return every call that may concern the person, newest first; raises TooManyCalls."""
        user = None if asked.user is None else await self._users.get(asked.user)
        who = await self._who()
        wanted = [self._known(claim, who) for claim in self._claims(asked, user)]
        found: dict[str, Candidate] = {}
        for claim in wanted:
            async for batch in self._calls.in_batches(Query(party=Personal(claim.text), exact=True), BATCH):
                await self._add(found, batch, wanted, user, who)
        return sorted(found.values(), key=lambda each: Position.of(each.row), reverse=True)

    async def parties(self, asked: Asked, row: CallRow) -> frozenset[int]:
        """Return the numbers of the parties of a call that may be the person, by the present directory."""
        user = None if asked.user is None else await self._users.get(asked.user)
        who = await self._who()
        wanted = [self._known(claim, who) for claim in self._claims(asked, user)]
        found = self._judged([row], wanted, user, who)
        return frozenset(match.party for candidate in found for match in candidate.matches)

    async def _who(self) -> UserLookup:
        """Bring the users in memory up to date with their rows, and return them."""
        await (self._user_matcher.refresh() if self._user_matcher.ready else self._user_matcher.load_now())
        if self._user_matcher.who is None:
            raise StorageError("the directory could not be read")
        return self._user_matcher.who

    async def _add(
        self, found: dict[str, Candidate], batch: Batch, wanted: Sequence[Claim], user: User | None, who: UserLookup
    ) -> None:
        fresh = await asyncio.to_thread(lambda: [row for row in batch.open() if row.id not in found])
        for candidate in await asyncio.to_thread(lambda: list(self._judged(fresh, wanted, user, who))):
            found[candidate.row.id] = candidate
        if len(found) > MAX_CALLS:
            raise TooManyCalls(f"more than {MAX_CALLS} calls match", "give more exact identities")

    def _judged(
        self, rows: Iterable[CallRow], wanted: Sequence[Claim], user: User | None, who: UserLookup
    ) -> Iterable[Candidate]:
        def then(party: Mapping[str, Any], at: datetime) -> frozenset[str]:
            return known(party) or _told(who, party, at)

        id = None if user is None else user.id
        for row in rows:
            parties = row.details.get("parties") or ()
            why = claims.matches(parties, row.started_at, wanted, id, then, self._country)
            if why:
                yield Candidate(row, tuple(why), claims.known_as(user, row.started_at) if user else "")

    def _claims(self, asked: Asked, user: User | None) -> list[Claim]:
        """Return all claims; an identity in both the request and the directory counts as the directory's."""
        told = claims.of_user(user, self._country) if user is not None else []
        same = {needle for claim in told for needle in claim.needles}
        letter = claims.of_letter(asked.identities, self._country)
        return [*(claim for claim in letter if not set(claim.needles) & same), *told]

    def _known(self, claim: Claim, who: UserLookup) -> Claim:
        """Return the claim with every directory user who ever had it."""
        return replace(claim, holders=frozenset(who.find(match_keys.asked(claim.text, self._country))))


def known(party: Mapping[str, Any]) -> frozenset[str]:
    """Return the users that a party was matched with when the call was written."""
    one, several = party.get("user_id"), party.get("user_candidates")
    if isinstance(one, str) and one:
        return frozenset({one})
    return frozenset(map(str, several)) if isinstance(several, list) else frozenset()


def _told(who: UserLookup, party: Mapping[str, Any], at: datetime) -> frozenset[str]:
    match = who.party(party, to_micros(at))
    return frozenset(match.candidates if match.user is None else {match.user})
