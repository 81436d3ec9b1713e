"""What the endpoint tells its user.

Every session that was announced by `Invited` ends with exactly one `Closed`, whatever happens in between. A token names
one open question: answer it with `accept`, `refuse` or (for `HungUp`) `confirm`; answers that come too late do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from sip.message.header_values import Flow
from sip.message.message import Request
from sip.message.replaces import Replaces

SessionKey = NewType("SessionKey", str)
Token = NewType("Token", int)


class Ending(StrEnum):
    """Say why a session expired."""

    TIMER = "timer"  # the peer did not refresh the session (RFC 4028)
    NO_ACK = "no-ack"  # a 200 was never acknowledged (RFC 3261 13.3.1.4)
    DIALOG_GONE = "dialog-gone"  # the peer answered 408 or 481 to us, or nothing at all


@dataclass(frozen=True, slots=True)
class Invited:
    """A new recording session asks to be answered."""

    session: SessionKey  # its name from now on
    token: Token  # to accept or refuse it
    flow: Flow  # where it came from
    request: Request  # the whole INVITE
    offer: bytes | None  # the SDP, None if the peer waits for ours
    metadata: bytes | None  # the rs-metadata as sent
    marks: str = "both"  # which signs of a recording session it carries (sip.message.siprec_marks.marks)
    replaces: Replaces | None = None  # a dialog it takes the place of: ask `Endpoint.replaced` which


@dataclass(frozen=True, slots=True)
class Reoffered:
    """The peer changes its offer by re-INVITE or UPDATE."""

    session: SessionKey  # the session
    token: Token  # to accept or refuse it
    flow: Flow  # where it came from
    request: Request  # the whole request
    offer: bytes | None  # the SDP
    metadata: bytes | None  # the rs-metadata as sent


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A re-INVITE or UPDATE needs no answer any more: it was cancelled, or the session ends (other events say so)."""

    session: SessionKey  # the session
    token: Token  # of the Reoffered that needs no answer any more


@dataclass(frozen=True, slots=True)
class Informed:
    """The peer sent something that has already been answered."""

    session: SessionKey  # the session
    flow: Flow  # where it came from
    request: Request  # the whole request
    metadata: bytes | None  # the rs-metadata as sent
    method: str  # UPDATE, INFO, INVITE (without an offer) or BYE (crossing ours)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The peer has our 200."""

    session: SessionKey  # the session
    answer: bytes | None  # the SDP answer in the ACK, if the offer was ours
    news: bool = True  # whether a session that is restored from a state of before the ACK would be another


@dataclass(frozen=True, slots=True)
class HungUp:
    """The peer ends the session; confirm once everything is durable."""

    session: SessionKey  # the session
    token: Token  # to confirm
    request: Request  # the whole BYE
    metadata: bytes | None  # the rs-metadata as sent


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The peer withdrew its first INVITE before it was answered."""

    session: SessionKey  # the session


@dataclass(frozen=True, slots=True)
class Expired:
    """The session ended without a BYE of the peer; ours has been sent where it is due."""

    session: SessionKey  # the session
    reason: Ending  # why


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over and its name forgotten."""

    session: SessionKey  # the session


@dataclass(frozen=True, slots=True)
class Reanswered:
    """The peer answered our own re-INVITE."""

    session: SessionKey  # the session
    status: int  # the final status; 408 if there was none
    sdp: bytes | None  # the SDP answer
    metadata: bytes | None  # the rs-metadata as sent
    asked: bytes = b""  # our offer


@dataclass(frozen=True, slots=True)
class Probed:
    """The peer answered whether it still knows the session, which goes on whatever it said."""

    session: SessionKey  # the session
    status: int  # the final status: 481 and 408 say that it does not; 408 if there was none


@dataclass(frozen=True, slots=True)
class Numbered:
    """A request of ours took the next CSeq: keep the session's state before it goes out, or a successor repeats it."""

    session: SessionKey  # the session


NOT_OWNER = "not-owner"
"""Why a request in a dialog is refused whose sender is not its owner; it gets what one of no dialog gets."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was refused without asking the user."""

    flow: Flow  # where it came from
    method: str  # a method this endpoint knows, else "unknown"
    status: int  # what was answered
    reason: str  # a fixed code word
    session: SessionKey | None = None  # whose request it was, or would have been, if it came in a dialog


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something was not answered."""

    flow: Flow | None  # where it came from, if known
    reason: str  # a fixed code word


Event = (
    Invited
    | Reoffered
    | Withdrawn
    | Informed
    | Acknowledged
    | HungUp
    | Cancelled
    | Expired
    | Closed
    | Reanswered
    | Probed
    | Numbered
    | Refused
    | Dropped
)


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for the network."""

    flow: Flow  # where to; a stream flow with connection 0 asks for a new connection to its remote address
    data: bytes  # one message


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection after everything before it was sent."""

    flow: Flow  # the connection
