"""The doors of the page: what works for somebody who is not signed in yet, and how one gets in and out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import RedirectResponse, Response

from admin_api.access.accounts_port import Household
from admin_api.page.framework.sessions import Sessions
from admin_api.page.sign_in.guest import Guest
from admin_api.page.sign_in.invitation import Invitations
from admin_api.page.sign_in.login_session import Entering, onward
from admin_api.page.sign_in.oidc_login import BACK, LEAVE, Errands
from admin_api.page.sign_in.sign_in import SignIn

YEAR = 365 * 86400  # seconds

Door = Callable[[Guest], Awaitable[Response]]


class Doors:
    """Finds the door of a path."""

    def __init__(
        self,
        household: Household | None,
        sessions: Sessions,
        monotonic: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._sessions = sessions
        self._doors: dict[tuple[str, str], Door] = {
            ("GET", "/sign-in"): self._nobody,
            ("POST", "/sign-out"): self._leave,
            ("POST", "/appearance"): self._appearance,
        }
        if household is not None:
            self._doors |= ways_in(Entering(household, sessions, monotonic), random)

    def find(self, method: str, path: str) -> Door | None:
        """Return what answers a path for everybody, None if it is not a door."""
        return self._doors.get(("GET" if method == "HEAD" else method, path))

    async def _nobody(self, guest: Guest) -> Response:
        """Show a door that stays shut: nobody can have an account."""
        return guest.page(
            "sign_in.html",
            several=False,
            customer="",
            known="",
            next="/",
            trouble="",
            wait=0,
            providers=(),
            lost=guest.asked("lost") == "1",
        )

    async def _leave(self, guest: Guest) -> Response:
        if guest.session is not None:
            self._sessions.close(guest.session)
        return RedirectResponse("/sign-in", 303)

    async def _appearance(self, guest: Guest) -> Response:
        """Keep language and light or dark in cookies that say nothing else."""
        answer = RedirectResponse(onward(guest.one("back")), 303)
        for name, allowed in (("language", ("en", "de")), ("theme", ("light", "dark", ""))):
            if guest.form.get(name) and guest.one(name) in allowed:
                answer.set_cookie(name, guest.one(name), YEAR, secure=True, httponly=True, samesite="strict")
        return answer


def ways_in(entering: Entering, random: Callable[[int], bytes]) -> dict[tuple[str, str], Door]:
    """Return the doors that need somebody who has accounts."""
    sign_in = SignIn(entering, random)
    invitations = Invitations(entering, sign_in)
    errands = Errands(entering, random)
    return {
        ("GET", "/sign-in"): sign_in.form,
        ("POST", "/sign-in"): sign_in.password,
        ("POST", "/sign-in/factor"): sign_in.factor,
        ("POST", "/sign-in/app"): sign_in.app,
        ("POST", "/sign-out"): entering.leave,
        ("GET", "/invitation"): invitations.look,
        ("POST", "/invitation"): invitations.use,
        ("GET", LEAVE): errands.leave,
        ("GET", BACK): errands.back,
    }
