"""The page's forms: each is accepted once, answered by a redirect, and kept if the session has ended.

Every form carries an id that is used up when it is sent (`token` in templates/parts/show.html). A second click or a
reload redirects to where the first did, and nothing is done twice. The result of an action is stored in the session
under a key, and the browser is redirected there (303), so that a reload sends nothing; a secret is shown once.

A form sent after its session has ended is kept in memory for its sender, who may send it again after signing in.
Nothing typed is stored in the browser or on disk; a form with a password is not kept. Several nodes keep it in the
database, sealed under a key that only the sender's browser has (admin_api.page.framework.shared_forms).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cachetools import FIFOCache, TTLCache
from starlette.responses import HTMLResponse, RedirectResponse, Response

from admin_api.http.messages import Message
from admin_api.http.problems import Problem

SHOWN = "/shown/"
"""Path of stored results."""
MAX_TAKEN = 1000  # forms whose outcome is remembered; one rendered before the oldest of them is refused
MAX_SHOWN = 5  # stored results of one session; the longest has a few hundred kilobytes
TWICE_SECONDS = 30.0
"""A second click within this time shows a secret again: the browser may have dropped the first answer unseen."""
UNSENT_SECONDS = 3600.0
"""Seconds for which a form is kept until its sender signs in again."""
MAX_UNSENT = 8 << 20  # bytes of all kept forms; the oldest is dropped
MAX_UNSENT_OF_ONE = 10
OWN = ("csrf", "once", "unsent", "action")
"""Fields that the page itself needs."""
MAX_DIGITS = 20  # in a form's number
OLD = Message("problem.load-again", "Load the page again and repeat what you did.")


class Secret(HTMLResponse):
    """A page that is shown once: a passphrase, codes."""

    def __init__(self, content: str, onward: str) -> None:
        """`onward`: where a reload is redirected."""
        super().__init__(content)
        self.onward = onward


@dataclass(slots=True)
class _Taken:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    to: str = ""  # its redirect target


@dataclass(slots=True)
class _Shown:
    page: bytes = field(repr=False)
    onward: str = ""  # for a secret: where a reload is redirected
    seen: float | None = None  # when a secret was first shown
    again: bool = False  # the form was sent twice


class Forms:
    """The forms of one session and their outcomes."""

    def __init__(self, key: bytes, random: Callable[[int], bytes], numbers: Callable[[], int] | None = None) -> None:
        """Start with no forms; `numbers` returns the number of the next issued form, higher each time."""
        self._key = key
        self._random = random
        self._numbers = numbers or itertools.count(1).__next__
        self._floor = 0
        self._taken: OrderedDict[int, _Taken] = OrderedDict()
        self._shown: FIFOCache[str, _Shown] = FIFOCache(MAX_SHOWN)

    def issue(self) -> str:
        """Return the id of a form that is being rendered."""
        number = self._numbers()
        return f"{number}-{self._sign(number)}"

    async def take(self, sent: str, act: Callable[[], Awaitable[Response]], now: float) -> Response:
        """Answer a form by its action, or by the earlier outcome if it was sent before; raises Problem 403, 409.

        A refused form changed nothing, so it may be sent again.
        """
        self._forget(now)
        number = self.number(sent)
        if number <= self._floor and number not in self._taken:
            raise too_old()
        taken = self._taken.setdefault(number, _Taken())
        async with taken.lock:
            if taken.to:
                self._once_more(taken.to, now)
                return RedirectResponse(taken.to, 303)
            answer = self.kept(await act())
            taken.to = answer.headers.get("location", "") if answer.status_code == 303 else ""
        while len(self._taken) > MAX_TAKEN:
            self._floor = max(self._floor, self._taken.popitem(last=False)[0])
        return answer

    def kept(self, answer: Response) -> Response:
        """Store a page that an action shows and redirect to it; return any other answer unchanged."""
        if answer.status_code != 200 or not isinstance(answer, HTMLResponse):
            return answer
        key = self._random(16).hex()
        onward = answer.onward if isinstance(answer, Secret) else ""
        self._shown[key] = _Shown(bytes(answer.body), onward)
        led = RedirectResponse(SHOWN + key, 303)
        led.raw_headers += [pair for pair in answer.raw_headers if pair[0] == b"set-cookie"]
        return led

    def look(self, key: str, now: float) -> Response | str:
        """Return a stored page, or a redirect if it is a secret already shown; raises Problem 404."""
        self._forget(now)
        found = self._shown.get(key)
        if found is None:
            title = Message("problem.not-kept", "This page is no longer available")
            detail = Message("problem.start-again", "It was shown some time ago. Go back and start again.")
            raise Problem(404, "not-kept", title, detail)
        if found.onward and found.seen is not None and not found.again:
            return found.onward
        if found.onward:
            found.seen, found.again = now if found.seen is None else found.seen, False
        return HTMLResponse(found.page)

    def document(self) -> dict[str, Any]:
        """Return everything except the stored pages as JSON values, with unchanged times."""
        shown = [[key, each.onward, each.seen, each.again] for key, each in self._shown.items()]
        taken = [[number, each.to] for number, each in self._taken.items() if each.to]
        return {"key": self._key.hex(), "floor": self._floor, "taken": taken, "shown": shown}

    def pages(self) -> dict[str, str]:
        """Return the stored pages."""
        return {key: each.page.decode() for key, each in self._shown.items()}

    @classmethod
    def parse(
        cls,
        document: Mapping[str, Any],
        pages: Mapping[str, str],
        random: Callable[[int], bytes],
        numbers: Callable[[], int],
    ) -> Forms:
        """Parse the results of `document` and `pages`."""
        forms = cls(bytes.fromhex(document["key"]), random, numbers)
        forms._floor = document["floor"]
        forms._taken.update((number, _Taken(to=to)) for number, to in document["taken"])
        for key, onward, seen, again in document["shown"]:
            forms._shown[key] = _Shown(pages.get(key, "").encode(), onward, seen, again)
        return forms

    def _once_more(self, to: str, now: float) -> None:
        found = self._shown.get(to.removeprefix(SHOWN))
        if found is not None and found.seen is not None and now - found.seen <= TWICE_SECONDS:
            found.again = bool(found.page)

    def _forget(self, now: float) -> None:
        """Drop secrets that will not be shown again."""
        for each in self._shown.values():
            if each.seen is not None and now - each.seen > TWICE_SECONDS:
                each.page, each.again = b"", False

    def number(self, sent: str) -> int:
        """Return the number of a form of this session; raises Problem 403."""
        number, _, sign = sent.partition("-")
        if not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS):
            raise forged()
        if not hmac.compare_digest(self._sign(int(number)).encode(), sign.encode("utf-8", "replace")):
            raise forged()
        return int(number)

    def _sign(self, number: int) -> str:
        return hmac.new(self._key, str(number).encode(), hashlib.sha256).hexdigest()[:32]


def too_old() -> Problem:
    """Return the answer to a form whose outcome is no longer known."""
    return Problem(409, "old-form", Message("problem.old-form", "This form is too old"), OLD)


def forged() -> Problem:
    """Return the answer to a form that does not come from a page of this session."""
    return Problem(403, "forged", Message("problem.forged", "This form is not from this page"), OLD)


@dataclass(frozen=True, slots=True)
class Unsent:
    """A form that was sent after its session had ended."""

    key: str
    """Id of the kept form."""
    whose: tuple[str, str]
    """Customer and name of its sender."""
    action: str
    """Path that it is sent to."""
    back: str
    """The page that it was on."""
    fields: Mapping[str, Sequence[str]] = field(repr=False)
    """The typed and chosen values."""

    @property
    def size(self) -> int:
        """Return its approximate size in bytes."""
        return sum(len(name) + sum(map(len, values)) + 100 for name, values in self.fields.items())

    @property
    def typed(self) -> list[str]:
        """Return its readable texts in order, by which its sender recognises it."""
        return [value for values in self.fields.values() for value in values if value.strip()][:MAX_UNSENT_OF_ONE]


class UnsentStore(Protocol):
    """A store of forms for their senders; raises StorageError if the database of several nodes is away."""

    async def keep(
        self, whose: tuple[str, str], action: str, back: str, fields: Mapping[str, Sequence[str]], browser: str = ""
    ) -> str:
        """Keep a form; return the key that the sender's browser must keep, "" if there is none."""

    async def of(self, whose: tuple[str, str], browser: str = "") -> list[Unsent]:
        """Return a sender's forms, oldest first; `browser` is the result of `keep`."""

    async def drop(self, key: str, whose: tuple[str, str], browser: str = "") -> None:
        """Forget a form of somebody."""


class UnsentForms:
    """Forms in the memory of this process (UnsentStore)."""

    def __init__(self, random: Callable[[int], bytes], monotonic: Callable[[], float]) -> None:
        self._random = random
        self._kept: TTLCache[str, Unsent] = TTLCache(MAX_UNSENT, UNSENT_SECONDS, monotonic, lambda each: each.size)

    async def keep(
        self, whose: tuple[str, str], action: str, back: str, fields: Mapping[str, Sequence[str]], browser: str = ""
    ) -> str:
        """Keep a form, wherever its sender signs in again."""
        texts = typed(fields)
        own = await self.of(whose)
        same = [each for each in own if (each.action, each.fields) == (action, texts)]
        for each in same or own[: max(0, len(own) + 1 - MAX_UNSENT_OF_ONE)]:
            self._kept.pop(each.key, None)
        key = self._random(16).hex()
        self._kept[key] = Unsent(key, whose, action, back, texts)
        return ""

    async def of(self, whose: tuple[str, str], browser: str = "") -> list[Unsent]:
        """Return the forms of somebody, oldest first."""
        return [each for each in self._kept.values() if each.whose == whose]

    async def drop(self, key: str, whose: tuple[str, str], browser: str = "") -> None:
        """Forget a form of somebody."""
        found = self._kept.get(key)
        if found is not None and found.whose == whose:
            self._kept.pop(key, None)


def typed(fields: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the typed and chosen values of a form, without the fields that the page needs."""
    return {name: list(values) for name, values in fields.items() if name not in OWN}
