"""The Replaces header (RFC 3891): the dialog that a new INVITE replaces."""

from __future__ import annotations

from dataclasses import field

from sip.errors import MalformedValue
from sip.message.grammar import TOKEN, params
from sip.message.headers import Headers
from sip.message.value import small_value

NO_TAG = "0"
"""Stands for the tag of an RFC 2543 client, which has none (section 6.1)."""


@small_value
class Replaces:
    """A dialog as named by its other end."""

    call_id: str = field(repr=False)
    """Call-ID of the dialog."""
    to_tag: str
    """Our tag."""
    from_tag: str
    """The peer's tag; `0` also if it has none."""
    early_only: bool = False
    """Whether the dialog is only replaced while it is not confirmed."""

    @classmethod
    def parse(cls, text: str) -> Replaces:
        """Parse the value; raise MalformedValue unless it has one Call-ID and one tag of each end."""
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
        """Return the peer's tags that this may mean."""
        return (NO_TAG, "") if self.from_tag == NO_TAG else (self.from_tag,)


def insisted(headers: Headers) -> bool:
    """Return whether the client wants to be refused if it cannot replace the other dialog."""
    return "replaces" in headers.tokens("Require")


def replaces(headers: Headers) -> Replaces | None:
    """Parse the header of an INVITE, None if it has none; raise MalformedValue, also for two (section 3).

    Join (RFC 3911) lets the named dialog continue, so both headers together are contradictory. A value that cannot be
    parsed is ignored, since support is optional (RFC 3261 section 8.2), unless the client insists.
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
