"""Sessions that several nodes share: a row of the customer's database for each, which only the cookie opens.

The cookie names the customer and holds a secret that no node stores (storage.access.shared_rows). A request
reads the row. A request that changes the session, as each form does, first takes a *turn*: the row says who has it and
until when, so forms of one session are done one after the other on all nodes, and a second click finds the outcome of
the first. If the node dies in between, the outcome of its form is unknown: it is refused as too old.

Times in rows are those of the database's clock; a Session has monotonic times of this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from admin_api.access.accounts_port import Person
from admin_api.http.bearer import Principal
from admin_api.http.messages import Message
from admin_api.http.problems import Problem, unavailable
from admin_api.page.framework.forms import Forms, forged, too_old
from admin_api.page.framework.sessions import IDLE_SECONDS, MAX_OF_ONE, SECRET_BYTES, Ended, Found, Session, begun
from storage.access.actor import Actor, Kind
from storage.access.shared_rows import SharedRows, Written
from storage.customer.customers import Customer

REMEMBERED = 3 * 86400.0
"""Seconds that an expired session is remembered: a page may stay open over a weekend."""
SEEN_SECONDS = 10.0
"""Seconds between writes of the last use: a session may end that much sooner."""
TURN_SECONDS = 60.0
"""Seconds after which a turn ends even if its node, which died or hangs, did not give it up."""
WAIT_SECONDS = 30.0
"""Seconds that a form waits for another one of its session."""
AGAIN_SECONDS = 0.05
"""Seconds between two checks whether the turn is over."""
MAX_BEGUN = 20
"""Unfinished forms of a session that are recognised as such."""
MAX_FORMER = 20
"""Expired sessions of one person whose forms are recognised."""
LOTS = 256
"""Forms are numbered by time and a random part, so that no two of a session share a number on whichever nodes."""
SEPARATOR = "."
BUSY = Message("problem.session-busy", "Something else is being done in this session. Try again.")


class SharedSessions:
    """The sessions of all customers (SessionStore)."""

    def __init__(
        self, customers: Mapping[str, Customer], random: Callable[[int], bytes], monotonic: Callable[[], float]
    ) -> None:
        self._customers = customers
        self._random = random
        self._monotonic = monotonic
        self._last = 0

    async def open(
        self, principal: Principal, now: float, person: Person | None = None, again: str = ""
    ) -> tuple[Session, str]:
        """Begin a session at monotonic time `now`; return it and the cookie's value. Raises StorageError."""
        rows = rows_of(principal.customer)
        cookie = f"{principal.customer.name}{SEPARATOR}{rows.secret()}"
        forms = Forms(self._random(SECRET_BYTES), self._random, self._number)
        session = begun(principal, now, person, again, cookie.encode(), forms, self._random)
        key, whose = rows.key(_named(session)), _person(session)

        def add(values: Mapping[str, Any], at: float) -> Written[list[str]]:
            known = values.get(whose, _NOBODY)
            opened = [*known["open"], key][-2 * MAX_OF_ONE :]
            put = {
                whose: ({**known, "open": opened}, at + REMEMBERED),
                _named(session): (_document(session, at - now), at + IDLE_SECONDS + REMEMBERED),
            }
            return Written(opened, put)

        opened = await rows.change((whose, _named(session)), add)
        ends = await rows.ends(opened)
        least = sorted((each for each in ends if each != key), key=lambda each: ends[each])
        await rows.drop(*least[: max(0, len(least) + 1 - MAX_OF_ONE)])
        return session, cookie

    async def look(self, cookie: str, source: str, now: float, *, busy: bool = True) -> Found:
        """Find the session of a cookie, and remember its client's address. Raises StorageError."""
        customer = self._customer(cookie)
        if customer is None:
            return Found()
        rows, name, former = rows_of(customer), f"session {cookie}", f"ended {cookie}"
        values, at = await rows.look(name, former)
        if name not in values:
            ended = values.get(former)
            return Found(ended=Ended((ended["whose"][0], ended["whose"][1]), ended["csrf"]) if ended else None)
        session = self._session(customer, cookie, values[name], at - now)
        renewal = session.again if session.renewable(now) else ""
        if renewal and not busy:
            return Found(renewal=renewal)
        if session.over(now):
            return Found(renewal=renewal, ended=await self._expire(rows, session))
        if busy and now - session.seen > SEEN_SECONDS:
            await rows.change((name,), lambda values, at: _used(name, values.get(name), at))
        session.used(source, now, busy=busy)
        return Found(session)

    @asynccontextmanager
    async def turn(self, session: Session, form: str = "") -> AsyncIterator[None]:
        """Read a session again, then store the changes that the body makes. Raises Problem 409, 503, StorageError."""
        rows = rows_of(session.principal.customer)
        number, turn = _number(session, form), self._random(8).hex()
        await self._wait(rows, session, number, turn)
        try:
            yield
        finally:
            await asyncio.shield(self._keep(rows, session, number, turn))

    async def before(self, session: Session, sent: str) -> bool:
        """Return whether a form is from an expired session of the same person. Raises StorageError."""
        whose = _person(session)
        values, _ = await rows_of(session.principal.customer).look(whose)
        return _digest(sent) in values.get(whose, _NOBODY)["ended"]

    async def close(self, session: Session) -> None:
        """End a session; its cookie becomes invalid. Raises StorageError."""
        rows = rows_of(session.principal.customer)
        await rows.drop(rows.key(_named(session)), rows.key(_pages(session)))

    async def _wait(self, rows: SharedRows, session: Session, number: int, turn: str) -> None:
        """Take the turn of a session, and read its current data."""
        named, last = _named(session), self._monotonic() + WAIT_SECONDS
        take = partial(_take, named, number, turn)
        while True:
            document, at = await rows.change((named,), take)
            if document is None:  # somebody has signed out meanwhile
                raise forged()
            if document:
                break
            if self._monotonic() > last:
                raise unavailable(BUSY)
            await asyncio.sleep(AGAIN_SECONDS)
        pages: Mapping[str, Any] = {}
        if document["forms"]["shown"]:
            pages, at = await rows.look(_pages(session))
        customer, cookie, shift = session.principal.customer, session.key.decode(), at - self._monotonic()
        session.follow(self._session(customer, cookie, document, shift, pages.get(_pages(session))))

    async def _keep(self, rows: SharedRows, session: Session, number: int, turn: str) -> None:
        """Write the changes, and give up the turn."""
        named, pages = _named(session), _pages(session)
        shown = session.forms.pages()

        def keep(values: Mapping[str, Any], at: float) -> Written[None]:
            stored = values.get(named)
            if stored is None or stored["turn"] is None or stored["turn"][0] != turn:
                return Written(None)  # signed out meanwhile, or the turn was over
            document = _document(session, at - self._monotonic())
            document["seen"] = max(stored["seen"], document["seen"])
            document["begun"] = [each for each in stored["begun"] if each != number]
            ends = _kept_until(document)
            return Written(None, {named: (document, ends), **({pages: (shown, ends)} if shown else {})})

        await rows.change((named,), keep)

    async def _expire(self, rows: SharedRows, session: Session) -> Ended:
        """Delete a session, but remember whose it was."""
        named, whose, former = _named(session), _person(session), f"ended {session.key.decode()}"

        def expire(values: Mapping[str, Any], at: float) -> Written[None]:
            known, ends = values.get(whose, _NOBODY), at + REMEMBERED
            ended = [*known["ended"], _digest(session.csrf)][-MAX_FORMER:]
            remembered = {"whose": session.whose, "csrf": session.csrf}
            put = {whose: ({**known, "ended": ended}, ends), former: (remembered, ends)}
            return Written(None, put, (named, _pages(session)))

        await rows.change((named, whose, former), expire)
        return Ended(session.whose, session.csrf)

    def _customer(self, cookie: str) -> Customer | None:
        """Return the customer of a cookie that a node has issued; an invented cookie reaches no database."""
        name, _, secret = cookie.partition(SEPARATOR)
        some = next(iter(self._customers.values()), None)
        found = self._customers.get(name)
        asked = found or some  # so that the time does not tell which customers exist
        genuine = asked is not None and rows_of(asked).genuine(secret)
        return found if genuine else None

    def _session(
        self,
        customer: Customer,
        cookie: str,
        document: Mapping[str, Any],
        shift: float,
        pages: Mapping[str, str] | None = None,
    ) -> Session:
        forms = Forms.parse(_shifted(document["forms"], -shift), pages or {}, self._random, self._number)
        return _parse(customer, cookie, document, shift, forms)

    def _number(self) -> int:
        """Return the number of a form: by time, so that a later one is higher, whichever node issues it."""
        self._last = max(self._last + LOTS, time.time_ns() // 1000 * LOTS + self._random(1)[0])
        return self._last


def _take(
    named: str, number: int, turn: str, values: Mapping[str, Any], at: float
) -> Written[tuple[dict[str, Any] | None, float]]:
    """Take the turn: return the session, {} if somebody else has it, None if there is none. Raises Problem 409."""
    document = values.get(named)
    if document is None:
        return Written((None, at))
    if document["turn"] and document["turn"][1] > at:
        return Written(({}, at))
    if number in document["begun"] and number not in [each for each, _ in document["forms"]["taken"]]:
        raise too_old()
    begun = [*document["begun"], number][-MAX_BEGUN:] if number else document["begun"]
    mine = {**document, "turn": [turn, at + TURN_SECONDS], "begun": begun}
    return Written((document, at), {named: (mine, _kept_until(document))})


_NOBODY: Mapping[str, Any] = {"open": [], "ended": []}


def rows_of(customer: Customer) -> SharedRows:
    """Return the rows that the nodes of a customer share."""
    if customer.shared is None:
        raise TypeError("this customer is not shared")
    return customer.shared.rows


def _named(session: Session) -> str:
    return f"session {session.key.decode()}"


def _pages(session: Session) -> str:
    return f"pages {session.key.decode()}"


def _person(session: Session) -> str:
    return f"person {session.whose[1]}"


def _digest(csrf: str) -> str:
    return hashlib.sha256(csrf.encode("utf-8", "replace")).hexdigest()


def _number(session: Session, form: str) -> int:
    """Return the number of a sent form, 0 if it has none or is forged; `Forms.take` refuses a forged form."""
    try:
        return session.forms.number(form) if form else 0
    except Problem:
        return 0


def _kept_until(document: Mapping[str, Any]) -> float:
    return float(min(document["seen"] + IDLE_SECONDS, document["ends"])) + REMEMBERED


def _used(name: str, document: dict[str, Any] | None, at: float) -> Written[None]:
    """Return a session's row with a new time of last use."""
    if document is None:
        return Written(None)
    used = {**document, "seen": max(document["seen"], at)}
    return Written(None, {name: (used, _kept_until(used))})


def _shifted(forms: Mapping[str, Any], shift: float) -> dict[str, Any]:
    """Convert the times in the result of Forms.document to another clock."""
    shown = [
        [key, onward, None if seen is None else seen + shift, again] for key, onward, seen, again in forms["shown"]
    ]
    return {**forms, "shown": shown}


def _document(session: Session, shift: float) -> dict[str, Any]:
    """Return a session as JSON values; `shift`: how far the database's clock is ahead of the monotonic one."""
    principal, who, person = session.principal, session.principal.who, session.person
    return {
        "token": principal.token,
        "name": principal.name,
        "roles": list(principal.roles),
        "who": who and [who.kind.value, who.id, who.name, who.holder],
        "csrf": session.csrf,
        "seen": session.seen + shift,
        "ends": session.ends + shift,
        "person": person and person.document(),
        "again": session.again,
        "kept": session.kept,
        "forms": _shifted(session.forms.document(), shift),
        "turn": None,
        "begun": [],
    }


def _parse(customer: Customer, cookie: str, document: Mapping[str, Any], shift: float, forms: Forms) -> Session:
    who, person = document["who"], document["person"]
    actor = who and Actor(Kind(who[0]), who[1], who[2], who[3])
    principal = Principal(customer, document["token"], document["name"], tuple(document["roles"]), "", actor)
    known = Person.parse(customer, person) if person else None
    seen, ends = document["seen"] - shift, document["ends"] - shift
    kept = dict(document["kept"])
    return Session(principal, document["csrf"], seen, cookie.encode(), ends, known, document["again"], kept, forms)
