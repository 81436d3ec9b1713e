"""Forms that were sent after their session had ended, where several nodes share a database.

They are sealed under a key that is in a cookie of the sender's browser and nowhere else (storage.access.shared_rows),
so their sender, after signing in again, finds them at any node, in that browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from admin_api.page.framework.forms import MAX_UNSENT_OF_ONE, UNSENT_SECONDS, Unsent, typed
from admin_api.page.framework.shared_sessions import SEPARATOR, rows_of
from storage.access.shared_rows import Written
from storage.customer.customers import Customer

MAX_BYTES = 1 << 20
"""Size limit for all kept forms of one browser; the oldest are dropped."""


class SharedUnsentForms:
    """Forms kept for their senders (UnsentStore)."""

    def __init__(self, customers: Mapping[str, Customer], random: Callable[[int], bytes]) -> None:
        self._customers = customers
        self._random = random

    async def keep(
        self, whose: tuple[str, str], action: str, back: str, fields: Mapping[str, Sequence[str]], browser: str = ""
    ) -> str:
        """Keep a form; return the key that the sender's browser must keep."""
        rows = rows_of(self._customers[whose[0]])
        own = browser if self._ours(whose, browser) else f"{whose[0]}{SEPARATOR}{rows.secret()}"
        name = _named(own)
        made = Unsent(self._random(16).hex(), whose, action, back, typed(fields))

        def add(values: Mapping[str, Any], at: float) -> Written[None]:
            known = [each for each in _alive(values.get(name), at) if _parsed(each) != _same(made, each)]
            kept = [*known, [at, made.key, whose, action, back, made.fields]][-MAX_UNSENT_OF_ONE:]
            while len(kept) > 1 and sum(_parsed(each).size for each in kept) > MAX_BYTES:
                kept = kept[1:]
            return Written(None, {name: (kept, at + UNSENT_SECONDS)})

        await rows.change((name,), add)
        return own

    async def of(self, whose: tuple[str, str], browser: str = "") -> list[Unsent]:
        """Return the forms of somebody, oldest first."""
        if not self._ours(whose, browser):
            return []
        values, at = await rows_of(self._customers[whose[0]]).look(_named(browser))
        found = map(_parsed, _alive(values.get(_named(browser)), at))
        return [each for each in found if each.whose == whose]

    async def drop(self, key: str, whose: tuple[str, str], browser: str = "") -> None:
        """Forget a form of somebody."""

        def drop(values: Mapping[str, Any], at: float) -> Written[None]:
            known = _alive(values.get(_named(browser)), at)
            left = [each for each in known if (_parsed(each).key, _parsed(each).whose) != (key, whose)]
            return Written(None, {_named(browser): (left, at + UNSENT_SECONDS)})

        if self._ours(whose, browser):
            await rows_of(self._customers[whose[0]]).change((_named(browser),), drop)

    def _ours(self, whose: tuple[str, str], browser: str) -> bool:
        """Return whether a browser has a key that `keep` returned for somebody of this customer."""
        name, _, secret = browser.partition(SEPARATOR)
        return name == whose[0] and rows_of(self._customers[name]).genuine(secret)


def _named(browser: str) -> str:
    return f"unsent {browser}"


def _alive(stored: Sequence[Any] | None, at: float) -> list[Any]:
    return [each for each in stored or () if each[0] + UNSENT_SECONDS > at]


def _parsed(stored: Sequence[Any]) -> Unsent:
    _, key, whose, action, back, fields = stored
    return Unsent(key, (whose[0], whose[1]), action, back, fields)


def _same(made: Unsent, stored: Sequence[Any]) -> Unsent:
    """Return the form that would have been stored if `made` had been sent again."""
    return Unsent(stored[1], made.whose, made.action, made.back, made.fields)
