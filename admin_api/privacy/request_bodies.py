"""Read the bodies of data subject requests strictly; report all errors together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from admin_api.http import body_reader, query_parameters
from admin_api.http.body_reader import Members
from admin_api.http.permissions import is_id
from storage.keys.age import LEAST_PASSPHRASE, BadRecipient, parse
from storage.keys.sealing import MAX_TEXT
from storage.subject_requests.case_rows import DELAYS, GROUNDS, LONGEST_DELAY, OUTCOMES, Asked, Extension, Kind, Step
from storage.subject_requests.cases import Wanted

MAX_IDENTITIES = 50  # of one letter; each costs a search
MAX_REFERENCE = 200  # characters
MAX_SECRET = 512  # characters of a passphrase or recipient
MAX_SELECTED = 20_000  # ids; as many as there can be candidates
MAX_PARTIES = 100  # of one call
MEDIA = ("wav", "flac", "opus", "mp3", "mkv")  # what a person can play; a capture is for engineers
REQUEST = ("kind", "identities", "user", "received_at", "reference", "reason")
REPORT = ("media", "silence_others", "other_parties", "recipient", "passphrase")

EXTENSION = ("months", "ground", "told_at", "reason")
HALVES = re.compile("[\ud800-\udfff]")  # lone surrogates: JSON can carry them, no keyboard can type them


@dataclass(frozen=True, slots=True)
class SubjectRequestBody:
    """The person's request."""

    kinds: tuple[Kind, ...]
    """Access, erasure, portability."""
    asked: Asked
    """Who asks."""
    received_at: datetime | None
    """When it arrived, None for now."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which candidates concern the person."""

    inside: Mapping[str, tuple[int, ...] | None]
    """Ids of calls that do, each with the numbers of the parties that are the person, None if not stated."""
    outside: tuple[str, ...]
    """Ids of calls that do not concern the person."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ends."""

    outcome: Step
    """Done, refused or closed."""
    ground: str | None
    """The ground of a refusal."""


def letter(data: bytes) -> SubjectRequestBody:
    """Read the body of POST /requests; raises Problem 422."""
    body = body_reader.parse(data, REQUEST)
    kinds, identities = _kinds(body), _identities(body)
    user = body.raw("user")
    if user is not None and not (isinstance(user, str) and is_id(user)):
        body.wrong("user", "must be the id of a directory user, or null")
    if not identities and user is None:
        body.wrong("identities", "must name the person, unless user does")
    received = body.moment("received_at") if body.raw("received_at") is not None else None
    asked = Asked(identities, user, body.maybe_text("reference", MAX_REFERENCE), body.maybe_text("reason", MAX_TEXT))
    body.done()
    return SubjectRequestBody(kinds, asked, received)


def selection(data: bytes) -> Chosen:
    """Read the body of PUT /requests/{id}/selection; raises Problem 422."""
    body = body_reader.parse(data, ("in", "out"))
    inside, outside = _inside(body), _ids(body, "out")
    if set(inside) & set(outside):
        body.wrong("out", "must not contain calls that are in `in`")
    body.done()
    return Chosen(inside, outside)


def report(data: bytes) -> Wanted:
    """Read the body of POST /requests/{id}/report; raises Problem 422."""
    body = body_reader.parse(data, REPORT, blank=True)
    media = body.raw("media")
    if media is not None and media not in MEDIA:
        body.wrong("media", f"must be null, or one of {', '.join(MEDIA)}")
    silence, others = _flag(body, "silence_others"), _flag(body, "other_parties")
    if silence and media is None:
        body.wrong("silence_others", "can be true only with media")
    recipient, passphrase = body.maybe_text("recipient", MAX_SECRET), body.maybe_text("passphrase", MAX_SECRET)
    if recipient and passphrase:
        body.wrong("recipient", "must be null if there is a passphrase")
    if passphrase and len(passphrase) < LEAST_PASSPHRASE:
        body.wrong("passphrase", f"must have at least {LEAST_PASSPHRASE} characters")
    if passphrase and HALVES.search(passphrase):
        body.wrong("passphrase", "must be text that can be typed: it holds half of a surrogate pair")
    _check(body, recipient)
    body.done()
    return Wanted(media, silence, others, recipient, passphrase)


def extension(data: bytes, now: datetime) -> Extension:
    """Read the body of PUT /requests/{id}/extension; raises Problem 422."""
    body = body_reader.parse(data, EXTENSION)
    months, ground = body.raw("months"), body.raw("ground")
    if not isinstance(months, int) or isinstance(months, bool) or not 1 <= months <= LONGEST_DELAY:
        body.wrong("months", f"must be a whole number from 1 to {LONGEST_DELAY} (Art. 12(3))")
    if ground not in DELAYS:
        body.wrong("ground", f"must be one of {', '.join(DELAYS)} (Art. 12(3))")
    told = body.moment("told_at") if body.raw("told_at") is not None else now
    reason = body.text("reason", MAX_TEXT)
    body.done()
    return Extension(months, ground, told or now, reason)


def ending(data: bytes) -> Ending:
    """Read the body of POST /requests/{id}/close; raises Problem 422."""
    body = body_reader.parse(data, ("outcome", "ground"))
    outcome, ground = body.raw("outcome"), body.raw("ground")
    if outcome not in [step.value for step in OUTCOMES]:
        body.wrong("outcome", f"must be one of {', '.join(OUTCOMES)}")
        outcome = Step.CLOSED.value
    if outcome == Step.REFUSED and ground not in GROUNDS:
        body.wrong(
            "ground", f"must be one of {', '.join(GROUNDS)}: a person who is refused must be told why (Art. 12(4))"
        )
    elif outcome != Step.REFUSED and ground is not None:
        body.wrong("ground", "must be null unless the request is refused")
    body.done()
    return Ending(Step(outcome), ground)


def _kinds(body: Members) -> tuple[Kind, ...]:
    given = body.raw("kind")
    wanted: list[Any] = given if isinstance(given, list) else [given]
    known = [kind.value for kind in Kind]
    if not wanted or not all(isinstance(each, str) and each in known for each in wanted):
        body.wrong("kind", f"must be one or several of {', '.join(known)}")
        return ()
    return tuple(Kind(each) for each in dict.fromkeys(wanted))


def _identities(body: Members) -> tuple[str, ...]:
    given = body.raw("identities")
    if given is None:
        return ()
    well = isinstance(given, list) and len(given) <= MAX_IDENTITIES
    if not well or not all(query_parameters.is_party(each) for each in given):
        right = f"must be a list of at most {MAX_IDENTITIES} texts of 1 to {query_parameters.MAX_PARTY} characters"
        body.wrong("identities", right)
        return ()
    return tuple(dict.fromkeys(str(each).strip() for each in given))


def _inside(body: Members) -> dict[str, tuple[int, ...] | None]:
    """Read the calls that concern the person: ids, or objects that also name the person's parties."""
    given = body.raw("in")
    if given is None:
        return {}
    if not isinstance(given, list) or len(given) > MAX_SELECTED or not all(map(_is_call, given)):
        said = f'must be a list of at most {MAX_SELECTED} ids of calls, or of {{"call": id, "parties": [numbers]}}'
        body.wrong("in", said)
        return {}
    return {
        each if isinstance(each, str) else each["call"]: None if isinstance(each, str) else tuple(each["parties"])
        for each in given
    }


def _is_call(value: object) -> bool:
    if not isinstance(value, dict):
        return isinstance(value, str)
    parties = value.get("parties")
    well = isinstance(parties, list) and 0 < len(parties) <= MAX_PARTIES
    whole = well and all(isinstance(each, int) and not isinstance(each, bool) for each in parties or ())
    return whole and isinstance(value.get("call"), str) and set(value) == {"call", "parties"}


def _ids(body: Members, name: str) -> tuple[str, ...]:
    given = body.raw(name)
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MAX_SELECTED or not all(isinstance(each, str) for each in given):
        body.wrong(name, f"must be a list of at most {MAX_SELECTED} ids of calls")
        return ()
    return tuple(dict.fromkeys(given))


def _flag(body: Members, name: str) -> bool:
    value = body.raw(name)
    if value is not None and not isinstance(value, bool):
        body.wrong(name, "must be true or false")
    return value is True


def _check(body: Members, recipient: str | None) -> None:
    try:
        parse(recipient) if recipient else None
    except BadRecipient:
        body.wrong("recipient", "must be an age recipient: age1… (62 characters, as age-keygen prints it)")
