"""What the endpoint reports to its user.

Every session that `Invited` announces ends with exactly one `Closed`, whatever happens in between. A token stands for
one open question: answer it with `accept`, `refuse` or (for `HungUp`) `confirm`. Answers that come too late are
ignored.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import NewType

from sip.message.header_values import Flow
from sip.message.message import Request
from sip.message.replaces import Replaces
from sip.message.value import small_value

SessionKey = NewType("SessionKey", str)
Token = NewType("Token", int)


class Ending(StrEnum):
    """Why a session expired."""

    TIMER = "timer"  # the peer did not refresh the session (RFC 4028)
    NO_ACK = "no-ack"  # a 200 was never acknowledged (RFC 3261 section 13.3.1.4)
    DIALOG_GONE = "dialog-gone"  # the peer answered our request with 408 or 481, or not at all


@small_value
class Invited:
    """A peer asks for a new recording session."""

    session: SessionKey  # its name from now on
    token: Token  # to accept or refuse it
    flow: Flow  # where it came from
    request: Request  # the whole INVITE
    offer: bytes | None = field(repr=False)  # the SDP, None if the peer waits for ours
    metadata: bytes | None = field(repr=False)  # the rs-metadata as sent
    marks: str = "both"  # which signs of a recording session it carries (sip.message.siprec_marks.marks)
    replaces: Replaces | None = None  # the dialog that it replaces; `Endpoint.replaced` returns its session


@small_value
class Reoffered:
    """The peer sends a new offer by re-INVITE or UPDATE."""

    session: SessionKey  # the session
    token: Token  # to accept or refuse it
    flow: Flow  # where it came from
    request: Request  # the whole request
    offer: bytes | None = field(repr=False)  # the SDP
    metadata: bytes | None = field(repr=False)  # the rs-metadata as sent


@small_value
class Withdrawn:
    """A re-INVITE or UPDATE needs no answer any more: it was cancelled, or the session is ending (see other events)."""

    session: SessionKey  # the session
    token: Token  # of the `Reoffered` that was withdrawn


@small_value
class Informed:
    """The peer sent something that has already been answered."""

    session: SessionKey  # the session
    flow: Flow  # where it came from
    request: Request  # the whole request
    metadata: bytes | None = field(repr=False)  # the rs-metadata as sent
    method: str  # UPDATE, INFO, INVITE (without an offer) or BYE (crossing ours)


@small_value
class Acknowledged:
    """The peer has received our 200."""

    session: SessionKey  # the session
    answer: bytes | None = field(repr=False)  # the SDP answer in the ACK, if the offer was ours
    news: bool = True  # whether this changes what a restored session would need to know


@small_value
class HungUp:
    """The peer ends the session; confirm once the recording is durable."""

    session: SessionKey  # the session
    token: Token  # to confirm
    request: Request  # the whole BYE
    metadata: bytes | None = field(repr=False)  # the rs-metadata as sent


@small_value
class Cancelled:
    """The peer cancelled its first INVITE before it was answered."""

    session: SessionKey  # the session


@small_value
class Expired:
    """The session ended without a BYE from the peer; we sent a BYE if one was due."""

    session: SessionKey  # the session
    reason: Ending  # why


@small_value
class Closed:
    """The session is over and its name is forgotten."""

    session: SessionKey  # the session


@small_value
class Reanswered:
    """The peer answered our own re-INVITE."""

    session: SessionKey  # the session
    status: int  # the final status; 408 if there was none
    sdp: bytes | None = field(repr=False)  # the SDP answer
    metadata: bytes | None = field(repr=False)  # the rs-metadata as sent
    asked: bytes = field(default=b"", repr=False)  # our offer


@small_value
class Probed:
    """The peer answered whether it still knows the session, which continues whatever the answer is."""

    session: SessionKey  # the session
    status: int  # the final status: 481 and 408 mean that it does not; 408 also if there was no answer


@small_value
class Numbered:
    """A request of ours took the next CSeq. Save the session before it is sent, or a successor reuses that number."""

    session: SessionKey  # the session


NOT_OWNER = "not-owner"
"""Code for a request in a dialog whose sender is not the owner; it is answered as if there were no such dialog."""


@small_value
class Refused:
    """A request was refused without asking the user."""

    flow: Flow  # where it came from
    method: str  # a method this endpoint knows, else "unknown"
    status: int  # what was answered
    reason: str  # a fixed code word
    session: SessionKey | None = None  # the session of the dialog in which it came, or would have come


@small_value
class Dropped:
    """Something was received and not answered."""

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


@small_value
class Send:
    """Bytes for the network."""

    flow: Flow  # where to; a stream flow with connection 0 requests a new connection to its remote address
    data: bytes = field(repr=False)  # one message


@small_value
class Close:
    """Close a connection once everything queued before it is sent."""

    flow: Flow  # the connection
