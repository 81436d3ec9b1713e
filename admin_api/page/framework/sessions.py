"""Who is signed in: sessions in memory, known by the hash of a cookie; a restart signs everybody out.

session, cookie = sessions.open(principal, now)       the cookie goes to the browser and is not kept
session = sessions.find(cookie, source, now)          None: unknown, idle for too long, too old
link = sessions.renewal(cookie, now)                  where a provider vouches again for one that is too old
sessions.close(session)
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from admin_api.access.accounts_port import Person
from admin_api.http.bearer import Principal
from admin_api.page.framework.forms import Forms

COOKIE = "__Host-recorder"
"""The prefix has browsers refuse a cookie that is not Secure, of this host alone, and for every path (RFC 6265bis).
Plain HTTP on loopback needs no other one: browsers take Secure cookies from there."""

IDLE_SECONDS = 20 * 60.0
"""Whoever leaves the browser alone for longer has to sign in again."""
LONGEST_SECONDS = 12 * 3600.0
"""A working day; then one signs in again however busy the session was."""
MAX_SESSIONS = 1000
"""Kept at once; the one unused for longest goes."""
MAX_OF_ONE = 20
"""Of one person: nobody signs everybody else out by signing in again and again."""
SECRET_BYTES = 32
MAX_ENDED = 1000
"""Sessions that ended by themselves and are remembered: a page may stay open over a weekend."""


@dataclass(slots=True)
class Session:
    """One browser of one person."""

    principal: Principal
    """Whose it is; `token` is an id of the session that may be shown."""
    csrf: str = field(repr=False)
    """What every form of this session carries."""
    seen: float
    """Monotonic seconds of the last request."""
    key: bytes = field(repr=False)
    """Hash of the cookie."""
    ends: float
    """Monotonic seconds; however busy it is."""
    person: Person | None = None
    """Who got in by an account or a provider; the session ends when they do not stand any more."""
    again: str = ""
    """Where a provider vouches again once the session has ended, "" where one has to sign in."""
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """What one page of a form leaves for the next."""
    forms: Forms = field(default_factory=lambda: Forms(secrets.token_bytes(SECRET_BYTES), secrets.token_bytes))
    """Its forms, each of which is taken once."""

    def renew(self, person: Person) -> None:
        """Go on although this person changed what they sign in with; their other sessions end."""
        self.person = person

    def left(self, now: float) -> float:
        """Return how many seconds it lasts if nobody does anything, at monotonic time `now`."""
        return min(self.seen + IDLE_SECONDS, self.ends) - now

    @property
    def whose(self) -> tuple[str, str]:
        """Return the customer and the identity of whoever it is."""
        who = self.principal.who
        return self.principal.customer.name, who.identity if who else self.principal.name


@dataclass(frozen=True, slots=True)
class Ended:
    """What is remembered of a session that ended by itself, for forms that come too late."""

    whose: tuple[str, str]
    """Customer and identity."""
    csrf: str = field(repr=False)
    """What its forms carry."""


class Sessions:
    """All sessions of this process."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._kept: OrderedDict[bytes, Session] = OrderedDict()
        self._ended: OrderedDict[bytes, Ended] = OrderedDict()

    def open(
        self, principal: Principal, now: float, person: Person | None = None, again: str = ""
    ) -> tuple[Session, str]:
        """Begin a session at monotonic time `now`; return it and the cookie's value."""
        cookie = self._random(SECRET_BYTES).hex()
        named = replace(principal, token=f"session-{self._random(8).hex()}")
        ends = now + min(LONGEST_SECONDS, math.inf if person is None else person.lasts)
        session = Session(named, self._random(SECRET_BYTES).hex(), now, _key(cookie), ends, person, again)
        session.forms = Forms(self._random(SECRET_BYTES), self._random)
        own = [each for each in self._kept.values() if each.whose == session.whose]
        for each in own[: max(0, len(own) + 1 - MAX_OF_ONE)]:
            self.close(each)
        self._kept[session.key] = session
        while len(self._kept) > MAX_SESSIONS:
            self._kept.popitem(last=False)
        return session, cookie

    def find(self, cookie: str, source: str, now: float, *, busy: bool = True) -> Session | None:
        """Return the session of a cookie, with the address that it is used from now.
        `busy`: somebody did something; a page that renews itself keeps no session alive.
        """
        session = self._kept.get(_key(cookie))
        if session is None:
            return None
        if now - session.seen > IDLE_SECONDS or now > session.ends:
            self.close(session)
            self._remember(session)
            return None
        session.seen = now if busy else session.seen
        session.principal = replace(session.principal, source=source)
        self._kept.move_to_end(session.key)
        return session

    def renewal(self, cookie: str, now: float) -> str:
        """Return where the session of a cookie can be renewed because its time is over, "" if it cannot.

        Call it before `find`, which ends the session. Whoever was idle for too long has to sign in.
        """
        session = self._kept.get(_key(cookie))
        over = session is not None and session.ends < now <= session.seen + IDLE_SECONDS
        return session.again if session is not None and over else ""

    def ended(self, cookie: str) -> Ended | None:
        """Return what is known of the session of a cookie if it ended by itself."""
        return self._ended.get(_key(cookie))

    def before(self, session: Session, sent: str) -> bool:
        """Say whether a form came from a page of a session of the same person that has ended by itself."""
        return any(genuine(each, sent) for each in self._ended.values() if each.whose == session.whose)

    def _remember(self, session: Session) -> None:
        self._ended[session.key] = Ended(session.whose, session.csrf)
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    def close(self, session: Session) -> None:
        """End a session; its cookie is worth nothing from now on."""
        self._kept.pop(session.key, None)


def genuine(session: Session | Ended, sent: str) -> bool:
    """Say whether a form came from a page of this session."""
    return hmac.compare_digest(session.csrf.encode(), sent.encode("utf-8", "replace"))


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
