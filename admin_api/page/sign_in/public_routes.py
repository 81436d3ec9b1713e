"""Routes that work without a session: signing in, one-time links, sign-in services, signing out, appearance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import RedirectResponse, Response

from admin_api.access.accounts_port import AccountService
from admin_api.page.framework.sessions import SessionStore
from admin_api.page.sign_in.invitation import Invitations
from admin_api.page.sign_in.login_backoff import AttemptStore
from admin_api.page.sign_in.login_session import LoginSessions, onward
from admin_api.page.sign_in.oidc_login import BACK, LEAVE, OidcLogins, Way
from admin_api.page.sign_in.pending_logins import PendingStore
from admin_api.page.sign_in.public_request import PublicRequest
from admin_api.page.sign_in.sign_in import SignIn, Step

YEAR = 365 * 86400  # seconds

PublicHandler = Callable[[PublicRequest], Awaitable[Response]]


class PublicRoutes:
    """The handlers of the paths that need no session."""

    def __init__(
        self,
        service: AccountService,
        sessions: SessionStore,
        monotonic: Callable[[], float],
        random: Callable[[int], bytes],
        *,
        steps: PendingStore[Step] | None = None,
        ways: PendingStore[Way] | None = None,
        attempts: AttemptStore | None = None,
    ) -> None:
        """Take the stores `steps`, `ways` and `attempts` of several nodes; without them, this process keeps its own."""
        logins = LoginSessions(service, sessions, monotonic)
        sign_in = SignIn(logins, random, steps, attempts)
        invitations = Invitations(logins, sign_in)
        oidc_logins = OidcLogins(logins, random, ways)
        self._public_routes: dict[tuple[str, str], PublicHandler] = {
            ("GET", "/sign-in"): sign_in.form,
            ("POST", "/sign-in"): sign_in.password,
            ("POST", "/sign-in/factor"): sign_in.factor,
            ("POST", "/sign-in/app"): sign_in.app,
            ("POST", "/sign-out"): logins.leave,
            ("GET", "/invitation"): invitations.look,
            ("POST", "/invitation"): invitations.use,
            ("GET", LEAVE): oidc_logins.leave,
            ("GET", BACK): oidc_logins.back,
            ("POST", "/appearance"): appearance,
        }

    def find(self, method: str, path: str) -> PublicHandler | None:
        """Return the handler of a public path, None if the path needs a session."""
        return self._public_routes.get(("GET" if method == "HEAD" else method, path))


async def appearance(request: PublicRequest) -> Response:
    """Store language and colour scheme in cookies that hold nothing else."""
    answer = RedirectResponse(onward(request.one("back")), 303)
    for name, allowed in (("language", ("en", "de")), ("theme", ("light", "dark", ""))):
        if request.form.get(name) and request.one(name) in allowed:
            answer.set_cookie(name, request.one(name), YEAR, secure=True, httponly=True, samesite="strict")
    return answer
