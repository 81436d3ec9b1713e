"""Sessions of signed-in people, keyed by the hash of a cookie.

session, cookie = await sessions.open(principal, now)     the cookie goes to the browser and is not kept
found = await sessions.look(cookie, source, now)          its session; or why there is none: unknown, idle, too old
async with sessions.turn(session): ...                    changes to it are stored
await sessions.close(session)

The sessions of a single node are in memory, and a restart signs everybody out. Several nodes share them
(admin_api.page.framework.shared_sessions).
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from cachetools import FIFOCache

from admin_api.access.accounts_port import Person
from admin_api.http.bearer import Principal
from admin_api.page.framework.forms import Forms

COOKIE = "__Host-recorder"
"""The prefix makes browsers refuse a cookie that is not Secure, host-only and for every path (RFC 6265bis). Plain HTTP
on loopback can use the same name: browsers accept Secure cookies from there."""

IDLE_SECONDS = 20 * 60.0
"""Idle seconds after which the person has to sign in again."""
LONGEST_SECONDS = 12 * 3600.0
"""A working day, after which the person has to sign in again, however active the session was."""
MAX_SESSIONS = 1000
"""Sessions at once; the one unused for longest is dropped."""
MAX_OF_ONE = 20
"""Sessions of one person, so that nobody can sign others out by signing in repeatedly."""
SECRET_BYTES = 32
MAX_ENDED = 1000
"""Expired sessions that are remembered: a page may stay open over a weekend."""


@dataclass(slots=True)
class Session:
    """One browser of one person."""

    principal: Principal
    """The person; `token` is an id of the session that may be shown."""
    csrf: str = field(repr=False)
    """The CSRF token in every form of this session."""
    seen: float
    """Monotonic seconds of the last request."""
    key: bytes = field(repr=False)
    """Hash of the cookie."""
    ends: float
    """Monotonic time at which it ends, however active it is."""
    person: Person | None = None
    """The person of an account or provider; the session ends when they may no longer sign in."""
    again: str = ""
    """Path at which a provider can renew the ended session, "" if the person has to sign in."""
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """Data that one page of a form keeps for the next."""
    forms: Forms = field(default_factory=lambda: Forms(secrets.token_bytes(SECRET_BYTES), secrets.token_bytes))
    """Its forms, each of which is accepted once."""

    def renew(self, person: Person) -> None:
        """Keep this session after its person changed their credentials; their other sessions end."""
        self.person = person

    def follow(self, now: Session) -> None:
        """Take over another node's changes to this session."""
        self.person, self.kept, self.forms = now.person, now.kept, now.forms

    def used(self, source: str, now: float, *, busy: bool) -> None:
        """Record a request from a client's address, and its time if a person did something."""
        self.principal = replace(self.principal, source=source)
        self.seen = now if busy else self.seen

    def left(self, now: float) -> float:
        """Return the seconds until it ends if idle, at monotonic time `now`."""
        return min(self.seen + IDLE_SECONDS, self.ends) - now

    def over(self, now: float) -> bool:
        """Return whether it has ended at monotonic time `now`."""
        return now - self.seen > IDLE_SECONDS or now > self.ends

    def renewable(self, now: float) -> bool:
        """Return whether a provider may renew it: it has ended, but not because it was idle."""
        return self.ends < now <= self.seen + IDLE_SECONDS

    @property
    def whose(self) -> tuple[str, str]:
        """Return the person's customer and identity."""
        who = self.principal.who
        return self.principal.customer.name, who.identity if who else self.principal.name


@dataclass(frozen=True, slots=True)
class Ended:
    """What is remembered of an expired session, for forms that are sent too late."""

    whose: tuple[str, str]
    """Customer and identity."""
    csrf: str = field(repr=False)
    """The CSRF token of its forms."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of looking up a cookie."""

    session: Session | None = None
    """Its session."""
    renewal: str = ""
    """Path at which a provider can renew the session, which has ended; "" if it cannot."""
    ended: Ended | None = None
    """The remembered data of an expired session."""


class SessionStore(Protocol):
    """A store of sessions; raises StorageError if the database of several nodes is away."""

    async def open(
        self, principal: Principal, now: float, person: Person | None = None, again: str = ""
    ) -> tuple[Session, str]:
        """Begin a session at monotonic time `now`; return it and the cookie's value."""

    async def look(self, cookie: str, source: str, now: float, *, busy: bool = True) -> Found:
        """Find the session of a cookie, and remember its client's address.

        `busy`: a person did something; a page that refreshes itself does not keep a session alive.
        """

    def turn(self, session: Session, form: str = "") -> AbstractAsyncContextManager[None]:
        """Store the changes that the body makes to a session; `form` is the id of the sent form. Raises Problem 409."""

    async def before(self, session: Session, sent: str) -> bool:
        """Return whether a form is from an expired session of the same person."""

    async def close(self, session: Session) -> None:
        """End a session; its cookie becomes invalid."""


class Sessions:
    """All sessions of this process, in memory (SessionStore)."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._kept: FIFOCache[bytes, Session] = FIFOCache(MAX_SESSIONS)
        self._ended: FIFOCache[bytes, Ended] = FIFOCache(MAX_ENDED)

    async def open(
        self, principal: Principal, now: float, person: Person | None = None, again: str = ""
    ) -> tuple[Session, str]:
        """Begin a session at monotonic time `now`; return it and the cookie's value."""
        cookie = self._random(SECRET_BYTES).hex()
        forms = Forms(self._random(SECRET_BYTES), self._random)
        session = begun(principal, now, person, again, _key(cookie), forms, self._random)
        own = sorted((each for each in self._kept.values() if each.whose == session.whose), key=lambda each: each.seen)
        for each in own[: max(0, len(own) + 1 - MAX_OF_ONE)]:
            self._kept.pop(each.key, None)
        self._kept[session.key] = session
        return session, cookie

    async def look(self, cookie: str, source: str, now: float, *, busy: bool = True) -> Found:
        """Find the session of a cookie, and remember its client's address."""
        renewal = self.renewal(cookie, now) if cookie else ""
        asks = cookie and (busy or not renewal)  # a renewable session stays until a person does something
        session = self.find(cookie, source, now, busy=busy) if asks else None
        return Found(session, renewal, None if session else self._ended.get(_key(cookie)))

    def turn(self, session: Session, form: str = "") -> AbstractAsyncContextManager[None]:
        """Do nothing: the session in memory is the only copy, and Forms makes a second click wait for the first."""
        return nullcontext()

    async def close(self, session: Session) -> None:
        """End a session; its cookie becomes invalid."""
        self._kept.pop(session.key, None)

    async def before(self, session: Session, sent: str) -> bool:
        """Return whether a form is from an expired session of the same person."""
        return any(genuine(each, sent) for each in self._ended.values() if each.whose == session.whose)

    def find(self, cookie: str, source: str, now: float, *, busy: bool = True) -> Session | None:
        """Return the session of a cookie, with its current client address.
        `busy`: a person did something; a page that refreshes itself does not keep a session alive.
        """
        session = self._kept.get(_key(cookie))
        if session is None:
            return None
        if session.over(now):
            self._kept.pop(session.key, None)
            self._ended[session.key] = Ended(session.whose, session.csrf)
            return None
        session.used(source, now, busy=busy)
        self._kept[session.key] = session  # moved to the end: the last to be dropped
        return session

    def renewal(self, cookie: str, now: float) -> str:
        """Return where the expired session of a cookie can be renewed, "" if it cannot.

        Call it before `find`, which ends the session. After too long an idle time, the person has to sign in.
        """
        session = self._kept.get(_key(cookie))
        return session.again if session is not None and session.renewable(now) else ""


def begun(
    principal: Principal,
    now: float,
    person: Person | None,
    again: str,
    key: bytes,
    forms: Forms,
    random: Callable[[int], bytes],
) -> Session:
    """Return a new session with its own name for rate limits."""
    named = replace(principal, token=f"session-{random(8).hex()}")
    ends = now + min(LONGEST_SECONDS, math.inf if person is None else person.lasts)
    return Session(named, random(SECRET_BYTES).hex(), now, key, ends, person, again, forms=forms)


def genuine(session: Session | Ended, sent: str) -> bool:
    """Return whether a form is from a page of this session."""
    return hmac.compare_digest(session.csrf.encode(), sent.encode("utf-8", "replace"))


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
