"""Recordings that have begun, offers that change them, and what they command."""

from __future__ import annotations

import json
from typing import TypeVar

from personal import revealed
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.session import Recording
from sip.message.message import Request
from sip.sdp.answer import Policy
from sip.ua.events import Token
from tests.in_process.offers import metadata, now, offered, random, request, sdp

ID = "11111111-2222-4333-8444-555555555555"
PREFERRED = Policy(srtp="preferred")
TWO, NAMES = sdp("sendonly", "sendonly"), metadata("Alice", "Bob")

Kind = TypeVar("Kind")


def begun(
    offer: bytes = TWO, document: bytes | None = None, policy: Policy = PREFERRED, *, swapped: bool = False
) -> Recording:
    """Accept an offer of at most two lines."""
    one = Recording(ID, policy, random, swapped=swapped)
    one.handle(offered(1, offer, document), now())
    one.handle(e.Opened({0: 20000, 1: 20002}), now())
    return one


def reoffer(one: Recording, number: int, *directions: str, at: float) -> list[c.Command]:
    """Offer again, as the client's n-th offer."""
    return one.handle(offered(number, sdp(*directions, version=number), cseq=number), now(at))


def bye(one: Recording, at: float, document: bytes | None = None) -> list[c.Command]:
    """Have the client hang up."""
    return one.handle(e.HungUp(Token(4), request("BYE", 9), document), now(at))


def informed(one: Recording, message: Request, document: bytes | None, at: float) -> list[c.Command]:
    """Have a request of the client bring no offer."""
    return one.handle(e.Informed(message, document), now(at))


def restarted(one: Recording) -> Recording:
    """Restore a recording from its checkpoint, as another process does."""
    return Recording.from_state(json.loads(json.dumps(one.to_state(), default=revealed)), random)


def kinds(commands: list[c.Command]) -> list[type]:
    """List the kinds of commands."""
    return [type(each) for each in commands]


def only(commands: list[c.Command], kind: type[Kind]) -> Kind:
    """Return the one command of a kind."""
    (found,) = [each for each in commands if isinstance(each, kind)]
    return found
