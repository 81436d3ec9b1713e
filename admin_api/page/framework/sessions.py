"""Sessions of signed-in people, in memory, keyed by the hash of a cookie; a restart signs everybody out.

session, cookie = sessions.open(principal, now)       the cookie goes to the browser and is not kept
session = sessions.find(cookie, source, now)          None: unknown, idle too long, too old
link = sessions.renewal(cookie, now)                  where a provider can renew an expired one
sessions.close(session)
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cachetools import FIFOCache

from admin_api.access.accounts_port import Person
from admin_api.http.bearer import Principal
from admin_api.page.framework.forms import Forms

COOKIE = "__Host-recorder"
"""The prefix makes browsers refuse a cookie that is not Secure, host-only and for every path (RFC 6265bis). Plain HTTP
on loopback can use the same name: browsers accept Secure cookies from there."""

IDLE_SECONDS = 20 * 60.0
"""Idle time after which one has to sign in again."""
LONGEST_SECONDS = 12 * 3600.0
"""A working day; then one has to sign in again however active the session was."""
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
    """Path at which a provider can renew the ended session, "" if one has to sign in."""
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """Data that one page of a form keeps for the next."""
    forms: Forms = field(default_factory=lambda: Forms(secrets.token_bytes(SECRET_BYTES), secrets.token_bytes))
    """Its forms, each of which is accepted once."""

    def renew(self, person: Person) -> None:
        """Keep this session after its person changed their credentials; their other sessions end."""
        self.person = person

    def left(self, now: float) -> float:
        """Return the seconds until it ends if idle, at monotonic time `now`."""
        return min(self.seen + IDLE_SECONDS, self.ends) - now

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


class Sessions:
    """All sessions of this process."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._kept: FIFOCache[bytes, Session] = FIFOCache(MAX_SESSIONS)
        self._ended: FIFOCache[bytes, Ended] = FIFOCache(MAX_ENDED)

    def open(
        self, principal: Principal, now: float, person: Person | None = None, again: str = ""
    ) -> tuple[Session, str]:
        """Begin a session at monotonic time `now`; return it and the cookie's value."""
        cookie = self._random(SECRET_BYTES).hex()
        named = replace(principal, token=f"session-{self._random(8).hex()}")
        ends = now + min(LONGEST_SECONDS, math.inf if person is None else person.lasts)
        session = Session(named, self._random(SECRET_BYTES).hex(), now, _key(cookie), ends, person, again)
        session.forms = Forms(self._random(SECRET_BYTES), self._random)
        own = sorted((each for each in self._kept.values() if each.whose == session.whose), key=lambda each: each.seen)
        for each in own[: max(0, len(own) + 1 - MAX_OF_ONE)]:
            self.close(each)
        self._kept[session.key] = session
        return session, cookie

    def find(self, cookie: str, source: str, now: float, *, busy: bool = True) -> Session | None:
        """Return the session of a cookie, with its current client address.
        `busy`: a person did something; a page that refreshes itself does not keep a session alive.
        """
        session = self._kept.get(_key(cookie))
        if session is None:
            return None
        if now - session.seen > IDLE_SECONDS or now > session.ends:
            self.close(session)
            self._ended[session.key] = Ended(session.whose, session.csrf)
            return None
        session.seen = now if busy else session.seen
        session.principal = replace(session.principal, source=source)
        self._kept[session.key] = session  # now the last to be dropped
        return session

    def renewal(self, cookie: str, now: float) -> str:
        """Return where the expired session of a cookie can be renewed, "" if it cannot.

        Call it before `find`, which ends the session. After too long an idle time, one has to sign in.
        """
        session = self._kept.get(_key(cookie))
        over = session is not None and session.ends < now <= session.seen + IDLE_SECONDS
        return session.again if session is not None and over else ""

    def ended(self, cookie: str) -> Ended | None:
        """Return what is remembered of a cookie's session if it expired."""
        return self._ended.get(_key(cookie))

    def before(self, session: Session, sent: str) -> bool:
        """Return whether a form is from an expired session of the same person."""
        return any(genuine(each, sent) for each in self._ended.values() if each.whose == session.whose)

    def close(self, session: Session) -> None:
        """End a session; its cookie becomes invalid."""
        self._kept.pop(session.key, None)


def genuine(session: Session | Ended, sent: str) -> bool:
    """Return whether a form is from a page of this session."""
    return hmac.compare_digest(session.csrf.encode(), sent.encode("utf-8", "replace"))


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
