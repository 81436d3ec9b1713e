"""The Replaces header of RFC 3891: which dialog a new INVITE takes the place of."""

from __future__ import annotations

from dataclasses import field

from sip.errors import MalformedValue
from sip.message.grammar import TOKEN, params
from sip.message.headers import Headers
from sip.message.value import small_value

NO_TAG = "0"
"""What stands for the tag of a client of RFC 2543, which has none (section 6.1)."""


@small_value
class Replaces:
    """One dialog as its other end sees it."""

    call_id: str = field(repr=False)
    """Of the dialog."""
    to_tag: str
    """Our tag."""
    from_tag: str
    """The peer's tag; `0` also where it has none."""
    early_only: bool = False
    """The dialog is meant only while it is not confirmed."""

    @classmethod
    def parse(cls, text: str) -> Replaces:
        """Read the value; raise MalformedValue unless it is one Call-ID with one tag of each end."""
        call_id, _, tail = text.partition(";")
        pairs = params(tail)
        ours, theirs = ([value or "" for name, value in pairs if name == end] for end in ("to-tag", "from-tag"))
        call_id = call_id.strip()
        if not call_id or len(call_id.split()) > 1 or "," in text:
            raise MalformedValue("replaces")
        if len(ours) != 1 or len(theirs) != 1 or not TOKEN.fullmatch(ours[0]) or not TOKEN.fullmatch(theirs[0]):
            raise MalformedValue("replaces")
        return cls(call_id, ours[0], theirs[0], any(name == "early-only" for name, _ in pairs))

    @property
    def remote_tags(self) -> tuple[str, ...]:
        """Give the tags of the peer that may be meant."""
        return (NO_TAG, "") if self.from_tag == NO_TAG else (self.from_tag,)


def insisted(headers: Headers) -> bool:
    """Tell whether the client wants a refusal where it cannot have the place of the other dialog."""
    return "replaces" in headers.tokens("Require")


def replaces(headers: Headers) -> Replaces | None:
    """Read the header of an INVITE, None if it has none; raise MalformedValue, also for two (section 3).

    Join (RFC 3911) wants the named dialog to go on, so both together contradict each other. One that cannot be read is
    passed over, as RFC 3261 section 8.2 wants of what need not be understood, unless the client insists.
    """
    values = headers.all("Replaces")
    if not values:
        return None
    if len(values) > 1 or "Join" in headers:
        raise MalformedValue("replaces")
    try:
        return Replaces.parse(values[0])
    except MalformedValue:
        if insisted(headers):
            raise
        return None
