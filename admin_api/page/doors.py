"""The doors of the page: what works for somebody who is not signed in yet, and how one gets in and out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import RedirectResponse, Response

from admin_api.page.guest import Guest
from admin_api.page.sessions import Sessions
from admin_api.ports import Household

YEAR = 365 * 86400  # seconds

Door = Callable[[Guest], Awaitable[Response]]


class Doors:
    """Finds the door of a path."""

    def __init__(self, household: Household | None, sessions: Sessions, monotonic: Callable[[], float]) -> None:
        self._household = household
        self._sessions = sessions
        self._monotonic = monotonic
        self._doors: dict[tuple[str, str], Door] = {
            ("GET", "/sign-in"): self._sign_in,
            ("POST", "/sign-out"): self._sign_out,
            ("POST", "/appearance"): self._appearance,
        }

    def find(self, method: str, path: str) -> Door | None:
        """Return what answers a path for everybody, None if it is not a door."""
        return self._doors.get((method, path))

    async def _sign_in(self, guest: Guest) -> Response:
        return guest.page("sign_in.html")

    async def _sign_out(self, guest: Guest) -> Response:
        if guest.session is not None:
            self._sessions.close(guest.session)
        return RedirectResponse("/sign-in", 303)

    async def _appearance(self, guest: Guest) -> Response:
        """Keep language and light or dark in cookies that say nothing else."""
        answer = RedirectResponse(guest.request.headers.get("referer") or "/", 303)
        for name, allowed in (("language", ("en", "de")), ("theme", ("light", "dark", ""))):
            if guest.form.get(name) and guest.one(name) in allowed:
                answer.set_cookie(name, guest.one(name), YEAR, secure=True, httponly=True, samesite="strict")
        return answer
