"""The bodies of data subject requests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from admin_api.http.messages import Message
from admin_api.http.problems import Fault
from admin_api.http.types import (
    HALVES,
    MAX_PARTY,
    NULL_OR_ONE_OF,
    TEXTS,
    Given,
    Moment,
    Party,
    Reason,
    right,
    said,
    word,
)
from storage.ids import is_id
from storage.keys.age import LEAST_PASSPHRASE, BadRecipient, parse
from storage.keys.sealing import MAX_TEXT
from storage.subject_requests.case_rows import DELAYS, GROUNDS, LONGEST_DELAY, OUTCOMES, Asked, Kind, Step
from storage.subject_requests.cases import Wanted

MAX_IDENTITIES = 50  # of one letter; each costs a search
MAX_REFERENCE = 200  # characters
MAX_SECRET = 512  # characters of a passphrase
MAX_SELECTED = 20_000  # ids; as many as there can be candidates
MAX_PARTIES = 100  # of one call
MEDIA = ("wav", "flac", "opus", "mp3", "mkv")  # formats that a person can play; a capture is for engineers

_IDENTITIES = TEXTS.of(most=MAX_IDENTITIES, size=MAX_PARTY)
_KINDS = Message("reason.one-or-several", "must be one or several of {choices}").of(choices=tuple(Kind))
_MONTHS = Message("reason.months", "must be a whole number from 1 to {most} (Art. 12(3))").of(most=LONGEST_DELAY)
_DELAY = Message("reason.delay", "must be one of {choices} (Art. 12(3))").of(choices=DELAYS)
_INSIDE = Message(
    "reason.inside", 'must be a list of at most {n} ids of calls, or of {{"call": id, "parties": [numbers]}}'
).of(n=MAX_SELECTED)
_OUTSIDE = Message("reason.outside", "must be a list of at most {n} ids of calls").of(n=MAX_SELECTED)
_RECIPIENT = Message("reason.recipient", "must be an age recipient: age1… (62 characters, as age-keygen prints it)")
NO_USER = Message("reason.user", "must be the id of a directory user, or null")
_Kinds = Annotated[list[Kind], Meta(min_length=1)]
_Media = Annotated[str, word(MEDIA), right(NULL_OR_ONE_OF.of(choices=MEDIA))]
_Months = Annotated[int, Meta(ge=1, le=LONGEST_DELAY), right(_MONTHS)]
_Passphrase = Annotated[
    str,
    Meta(
        min_length=LEAST_PASSPHRASE,
        max_length=MAX_SECRET,
        pattern=r"\S",
        extra={"reason": Message("reason.at-least", "must have at least {n} characters").of(n=LEAST_PASSPHRASE)},
    ),
]


class RequestRequest(Given):
    """The person's request."""

    kind: Annotated[Kind | _Kinds, right(_KINDS)]
    identities: Annotated[list[Party], Meta(max_length=MAX_IDENTITIES), right(_IDENTITIES)] | None = None
    user: Annotated[str, Meta(extra_json_schema={"format": "uuid"}), right(NO_USER)] | None = None
    received_at: Moment | None = None
    """When it arrived, null for now."""
    reference: Annotated[str, said(MAX_REFERENCE)] | None = None
    reason: Reason | None = None

    checks_the_rest: ClassVar[bool] = True
    schema: ClassVar[Mapping[str, Any]] = {"description": "One identity or a user is needed."}

    def faults(self) -> Iterable[Fault]:
        """Check who asks."""
        if isinstance(self.user, str) and not is_id(self.user):
            yield "user", NO_USER
        if not self.identities and self.user is None:
            yield "identities", Message("reason.nobody", "must name the person, unless user does")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds of the request, each once."""
        return tuple(dict.fromkeys(self.kind if isinstance(self.kind, list) else [self.kind]))

    @property
    def asked(self) -> Asked:
        """Return the person who asks."""
        identities = tuple(dict.fromkeys(each.strip() for each in self.identities or ()))
        return Asked(identities, self.user, self.reference, self.reason)


class ChosenCall(Given):
    """A call with the numbers of the parties that are the person."""

    call: str
    parties: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]


class SelectionRequest(Given):
    """Which candidates concern the person."""

    inside: Annotated[list[str | ChosenCall], Meta(max_length=MAX_SELECTED), right(_INSIDE)] = msgspec.field(
        name="in", default_factory=list
    )
    outside: Annotated[list[str], Meta(max_length=MAX_SELECTED), right(_OUTSIDE)] = msgspec.field(
        name="out", default_factory=list
    )

    null_is_absent: ClassVar[Collection[str]] = ("in", "out")

    def faults(self) -> Iterable[Fault]:
        """Check that no call is on both sides."""
        if any(isinstance(each, ChosenCall) and len(each.parties) > MAX_PARTIES for each in self.inside):
            yield "in", _INSIDE
        if set(self.chosen) & set(self.outside):
            yield "out", Message("reason.in-and-out", "must not contain calls that are in `in`")

    @property
    def chosen(self) -> Mapping[str, tuple[int, ...] | None]:
        """Return the calls that concern the person, each with the numbers of their parties, None if not stated."""
        return {
            each if isinstance(each, str) else each.call: None if isinstance(each, str) else tuple(each.parties)
            for each in self.inside
        }


class ReportRequest(Given):
    """What a report holds, and how it is encrypted."""

    media: _Media | None = None
    silence_others: bool = False
    other_parties: bool = False
    recipient: Annotated[str, Meta(pattern="^age1"), right(_RECIPIENT)] | None = None
    passphrase: _Passphrase | None = None

    null_is_absent: ClassVar[Collection[str]] = ("silence_others", "other_parties")
    schema: ClassVar[Mapping[str, Any]] = {
        "description": "At most one of `recipient` and `passphrase`; `silence_others` only with `media`."
    }

    def faults(self) -> Iterable[Fault]:
        """Check members that exclude or need each other."""
        if self.silence_others and self.media is None:
            yield "silence_others", Message("reason.only-with-media", "can be true only with media")
        if self.recipient and self.passphrase:
            yield "recipient", Message("reason.null-with-passphrase", "must be null if there is a passphrase")
        if self.passphrase and HALVES.search(self.passphrase):
            half = Message("reason.surrogate", "must be text that can be typed: it holds half of a surrogate pair")
            yield "passphrase", half
        try:
            parse(self.recipient) if self.recipient else None
        except BadRecipient:
            yield "recipient", _RECIPIENT

    @property
    def wanted(self) -> Wanted:
        """Return the report as storage knows it."""
        return Wanted(self.media, self.silence_others, self.other_parties, self.recipient, self.passphrase)


class ExtensionRequest(Given, kw_only=True):
    """Why the answer takes longer, and when the person was told."""

    months: _Months
    ground: Annotated[str, word(DELAYS), right(_DELAY)]
    told_at: Moment | None = None
    reason: Annotated[str, said(MAX_TEXT)]

    schema: ClassVar[Mapping[str, Any]] = {
        "description": "`told_at`: null means now; it lies in the month after the letter arrived (Art. 12(3))."
    }


class RequestErasureRequest(Given):
    """Why the confirmed calls are erased."""

    reason: Reason


class CloseRequest(Given):
    """How a request ends."""

    outcome: Annotated[str, word(OUTCOMES)]
    ground: Annotated[str, word(GROUNDS)] | None = None

    schema: ClassVar[Mapping[str, Any]] = {"description": "A refusal needs a `ground`; other outcomes have none."}

    def faults(self) -> Iterable[Fault]:
        """Require a ground of a refusal."""
        if self.outcome == Step.REFUSED and self.ground is None:
            told = Message(
                "reason.no-ground", "must be one of {choices}: a person who is refused must be told why (Art. 12(4))"
            )
            yield "ground", told.of(choices=tuple(GROUNDS))
        elif self.outcome != Step.REFUSED and self.ground is not None:
            yield "ground", Message("reason.ground-unless-refused", "must be null unless the request is refused")
