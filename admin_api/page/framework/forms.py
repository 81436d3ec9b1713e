"""What a form of the page leads to: taken once, answered by a redirect, and not lost with a session that has ended.

Every form carries an id that is used up when it is sent (`token` in templates/parts/show.html). A second click or a
reload leads to where the first led, and nothing is done twice. What an act has to show lies in the session under a key,
and the browser is led there (303), so that loading it again sends nothing; what is secret is shown once.

A form that is sent after its session has ended is kept in memory for its sender, who is asked for it again once they
have signed in. Nothing that was typed lies in the browser's storage or on the disk; what has a password is not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.responses import HTMLResponse, RedirectResponse, Response

from admin_api.http.problems import Problem

SHOWN = "/shown/"
"""Where what an act had to show is looked at."""
MAX_TAKEN = 1000  # forms whose outcome is remembered; one that was rendered before the oldest of them is not taken
MAX_SHOWN = 5  # pages of one session; the longest has some hundred kilobytes
TWICE_SECONDS = 30.0
"""A second click within so long shows a secret once more: the browser may have dropped the first answer unseen."""
UNSENT_SECONDS = 3600.0
"""How long a form waits for somebody to sign in again."""
MAX_UNSENT = 8 << 20  # bytes of all forms that wait; the oldest goes
MAX_UNSENT_OF_ONE = 10
OWN = ("csrf", "once", "unsent", "action")
"""Fields that the page itself needs."""
OLD = "Load the page again and repeat what you did."


class Secret(HTMLResponse):
    """A page that is shown once: a passphrase, codes."""

    def __init__(self, content: str, onward: str) -> None:
        """`onward`: where somebody goes who looks at it again."""
        super().__init__(content)
        self.onward = onward


@dataclass(slots=True)
class _Taken:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    to: str = ""  # where it led


@dataclass(slots=True)
class _Shown:
    page: bytes = field(repr=False)
    onward: str = ""  # of a secret
    seen: float | None = None  # when a secret was looked at first
    again: bool = False  # the form came twice


class Forms:
    """The forms of one session, and what they led to."""

    def __init__(self, key: bytes, random: Callable[[int], bytes]) -> None:
        self._key = key
        self._random = random
        self._issued = 0
        self._floor = 0
        self._taken: OrderedDict[int, _Taken] = OrderedDict()
        self._shown: OrderedDict[str, _Shown] = OrderedDict()

    def issue(self) -> str:
        """Return the id of a form that is being rendered."""
        self._issued += 1
        return f"{self._issued}-{self._sign(self._issued)}"

    async def take(self, sent: str, act: Callable[[], Awaitable[Response]], now: float) -> Response:
        """Answer a form: by its act, or where it was sent before by where that led; raises Problem 403, 409.

        What was refused changed nothing, so the same form may be sent again.
        """
        self._forget(now)
        number = self._number(sent)
        if number <= self._floor and number not in self._taken:
            raise Problem(409, "old-form", "This form is too old", OLD)
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
        """Keep a page that an act shows, and lead to it; anything else stays as it is."""
        if answer.status_code != 200 or not isinstance(answer, HTMLResponse):
            return answer
        key = self._random(16).hex()
        onward = answer.onward if isinstance(answer, Secret) else ""
        self._shown[key] = _Shown(bytes(answer.body), onward)
        while len(self._shown) > MAX_SHOWN:
            self._shown.popitem(last=False)
        led = RedirectResponse(SHOWN + key, 303)
        led.raw_headers += [pair for pair in answer.raw_headers if pair[0] == b"set-cookie"]
        return led

    def look(self, key: str, now: float) -> Response | str:
        """Return a page that was kept, or where to go on from a secret that was shown; raises Problem 404."""
        self._forget(now)
        found = self._shown.get(key)
        if found is None:
            told = "It was shown some time ago. Begin again where you came from."
            raise Problem(404, "not-kept", "This page is not kept any more", told)
        if found.onward and found.seen is not None and not found.again:
            return found.onward
        if found.onward:
            found.seen, found.again = now if found.seen is None else found.seen, False
        return HTMLResponse(found.page)

    def _once_more(self, to: str, now: float) -> None:
        found = self._shown.get(to.removeprefix(SHOWN))
        if found is not None and found.seen is not None and now - found.seen <= TWICE_SECONDS:
            found.again = bool(found.page)

    def _forget(self, now: float) -> None:
        """Forget secrets that were shown and will not be shown again."""
        for each in self._shown.values():
            if each.seen is not None and now - each.seen > TWICE_SECONDS:
                each.page, each.again = b"", False

    def _number(self, sent: str) -> int:
        """Return which of the forms of this session it is; raises Problem 403."""
        number, _, sign = sent.partition("-")
        if not (number.isascii() and number.isdecimal() and len(number) < 12):
            raise forged()
        if not hmac.compare_digest(self._sign(int(number)).encode(), sign.encode("utf-8", "replace")):
            raise forged()
        return int(number)

    def _sign(self, number: int) -> str:
        return hmac.new(self._key, str(number).encode(), hashlib.sha256).hexdigest()[:32]


def forged() -> Problem:
    """Return what a form is answered with that no page of this session has."""
    return Problem(403, "forged", "This form is not from this page", OLD)


@dataclass(frozen=True, slots=True)
class Unsent:
    """A form that came when its session had ended."""

    key: str
    """Names it."""
    whose: tuple[str, str]
    """Customer and name of its sender."""
    action: str
    """Path that it goes to."""
    back: str
    """The page that it stood on."""
    fields: Mapping[str, Sequence[str]] = field(repr=False)
    """What was typed and chosen."""
    at: float
    """Monotonic seconds."""

    @property
    def size(self) -> int:
        """Return about how many bytes it takes."""
        return sum(len(name) + sum(map(len, values)) + 100 for name, values in self.fields.items())

    @property
    def typed(self) -> list[str]:
        """Return what can be recognised of it: texts, in their order."""
        return [value for values in self.fields.values() for value in values if value.strip()][:MAX_UNSENT_OF_ONE]


class UnsentForms:
    """Forms that wait for their sender."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._kept: OrderedDict[str, Unsent] = OrderedDict()

    def keep(
        self, whose: tuple[str, str], action: str, back: str, fields: Mapping[str, Sequence[str]], now: float
    ) -> None:
        """Keep a form from monotonic time `now` on."""
        self._expire(now)
        texts = {name: list(values) for name, values in fields.items() if name not in OWN}
        own = [each for each in self._kept.values() if each.whose == whose]
        same = [each for each in own if (each.action, each.fields) == (action, texts)]
        for each in same or own[: max(0, len(own) + 1 - MAX_UNSENT_OF_ONE)]:
            del self._kept[each.key]
        key = self._random(16).hex()
        self._kept[key] = Unsent(key, whose, action, back, texts, now)
        while self._kept and sum(each.size for each in self._kept.values()) > MAX_UNSENT:
            self._kept.popitem(last=False)

    def of(self, whose: tuple[str, str], now: float) -> list[Unsent]:
        """Return the forms of somebody."""
        self._expire(now)
        return [each for each in self._kept.values() if each.whose == whose]

    def drop(self, key: str, whose: tuple[str, str]) -> None:
        """Forget a form of somebody."""
        found = self._kept.get(key)
        if found is not None and found.whose == whose:
            del self._kept[key]

    def _expire(self, now: float) -> None:
        for each in [each for each in self._kept.values() if now - each.at > UNSENT_SECONDS]:
            del self._kept[each.key]
