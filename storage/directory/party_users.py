"""The directory users of a call's parties; pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from storage.calls.call_document import Party
from storage.directory.user_lookup import NO_MATCH, Match, UserLookup
from storage.timestamps import to_micros


def told(who: UserLookup, parties: Iterable[Party], at: datetime) -> list[Party]:
    """Return parties with `user_id` and `user_candidates`, the users whom they match at that time."""
    moment = to_micros(at)
    found: list[Party] = []
    for party in parties:
        match, before = who.party(party, moment), party.get("user_id")
        if match is NO_MATCH and before and who.silent(before, party):
            match = Match(before)
        found.append({**party, "user_id": match.user, "user_candidates": list(match.candidates)})
    return found


def forms(forms: Sequence[str], before: Iterable[Party], now: Iterable[Party]) -> tuple[str, ...]:
    """Return the search forms of a call after the users of its parties changed from `before` to `now`."""
    old, new = _forms_of_users(before), _forms_of_users(now)
    return tuple(dict.fromkeys((*(form for form in forms if form not in old), *new)))


def same(before: Sequence[Party], now: Sequence[Party]) -> bool:
    """Return whether parties have the same users and candidates; calls written before schema 0002 may have neither."""
    return [_users(party) for party in before] == [_users(party) for party in now]


def named(parties: Iterable[Party]) -> bool:
    """Return whether any party has a user or candidates."""
    return any(user or candidates for user, candidates in map(_users, parties))


def _users(party: Party) -> tuple[str | None, list[str]]:
    return party.get("user_id"), list(party.get("user_candidates") or ())


def _forms_of_users(parties: Iterable[Party]) -> dict[str, None]:
    """Return the search forms of certain users and of candidates (storage.search_forms)."""
    found: dict[str, None] = {}
    for user, candidates in map(_users, parties):
        found.update({f"u:{user}": None} if user else {})
        found.update((f"k:{id}", None) for id in candidates)
    return found
