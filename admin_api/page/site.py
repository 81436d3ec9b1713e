"""The page as an application: finds the session and the view, checks forms, and puts the same headers on every answer.

Order for every request: static file, door (signing in), session, view, role, form. A view that a visitor's roles do
not allow is not there: 404 and no entry in the menu, like an unknown path. The API's gate decides once more.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from admin_api import bodies
from admin_api.auth import Report
from admin_api.errors import Problem, too_many
from admin_api.gate import Gate
from admin_api.guard import problem
from admin_api.household import Declined, Household
from admin_api.limits import PER_TOKEN, Limiter
from admin_api.page import catalogue, doors
from admin_api.page.client import Api
from admin_api.page.guest import Guest
from admin_api.page.looks import Looks
from admin_api.page.sessions import COOKIE, Session, Sessions, genuine
from admin_api.page.static import Static
from admin_api.page.views import View
from admin_api.page.visit import Visit
from admin_api.page.words import Words
from storage.errors import StorageError

WAVESURFER_STYLE = "sha256-GDz2FZP0i7VZaDhs1mgc43IRUXU2xajPIjvThHvZvbs="
"""The one style element that is made by a script: of wavesurfer 8.0.1 at the height that call.js asks for."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' '{WAVESURFER_STYLE}'",
        "img-src 'self' data:",  # the signs in Pico's style sheet
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Frame-Options": "DENY",
}
AGAIN = "Load the page again and repeat what you did."
BY_ITSELF = "x-by-itself"
"""Header of a request that a page sends without anybody doing anything: it keeps no session from idling."""
MAX_FORM = 256 << 10  # bytes; an annotation has 20,000 characters, each of which may take nine bytes in a form
MAX_STRANGERS_FORM = 32 << 10  # bytes; what a passkey says is the longest that a door takes, and has some thousands
MAX_LINK = 2048  # characters of the address that a page says it has
MAX_FIELDS = 2000  # a request's selection is one field a call of a page


class Site:
    """Answers everything outside /api and the health paths."""

    def __init__(
        self,
        gate: Gate,
        household: Household | None,
        *,
        report: Report,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.sessions = Sessions(random)
        self._household = household
        self._gate = gate
        self._report = report
        self._monotonic = monotonic
        self._per_session = Limiter(PER_TOKEN)
        self._looks = Looks()
        self._static = Static()
        self._doors = doors.Doors(household, self.sessions, monotonic, random)
        self._views = [(compile_path(view.path)[0], view) for view in catalogue.VIEWS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as an ASGI application."""
        request = Request(scope, receive, send)
        response = await self.answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        await response(scope, receive, send)

    def nowhere(self, request: Request) -> Response:
        """Answer a browser that asks for what is neither of the page nor of the API."""
        page = self._guest(request).page("refused.html", status=404, problem=_nothing().document())
        page.headers.update(HEADERS)
        return page

    async def answer(self, request: Request) -> Response:
        """Answer a request; what goes wrong becomes a page too."""
        if request.url.path.startswith("/static/"):
            return self._static.answer(request)
        guest = self._guest(request)
        try:
            return await self._answer(request, guest)
        except Exception as error:
            shown = _declined(error) if isinstance(error, Declined) else problem(error, self._report)
            page = guest.page("refused.html", status=shown.status, problem=shown.document())
            page.headers.update(shown.headers)
            return page

    async def _answer(self, request: Request, guest: Guest) -> Response:
        session = guest.session
        door = self._doors.find(request.method, request.url.path)
        if door is not None:
            return await door(await self._with_form(request, guest))
        if session is None:
            return _to_sign_in(request, guest.renewal)
        wait = self._per_session.take(session.principal.token, self._monotonic())
        if wait:
            raise too_many(wait)
        view, ids = self._view(request, session)
        request.scope["path_params"] = ids
        form = await self._form(request, session) if view.method == "POST" else {}
        api = Api(self._gate, self._report, request, session.principal)
        listed = menu(catalogue.VIEWS, session)
        visit = Visit(request, session, api, guest.words, self._looks, guest.theme, listed, form, self._household)
        return await view.show(visit)

    def _guest(self, request: Request) -> Guest:
        source = request.client.host if request.client else ""
        cookie = request.cookies.get(COOKIE, "")
        now, busy = self._monotonic(), BY_ITSELF not in request.headers
        renewal = self.sessions.renewal(cookie, now) if cookie else ""
        asks = cookie and (busy or not renewal)  # a session that can be renewed stays for whoever does something next
        session = self.sessions.find(cookie, source, now, busy=busy) if asks else None
        if session is not None and not self._stands(session):
            self.sessions.close(session)
            session = None
        words = Words.chosen(request.cookies.get("language", ""), request.headers.get("accept-language", ""))
        theme = request.cookies.get("theme", "")
        return Guest(request, session, words, self._looks, theme if theme in ("light", "dark") else "", renewal)

    def _stands(self, session: Session) -> bool:
        """Say whether the account behind a session still is what it was; asked for every request."""
        if self._household is None or session.person is None:
            return True
        try:
            return self._household.stands(session.person)
        except StorageError as error:  # a damaged file of one customer locks out that customer alone
            self._report(error)
            return False

    def _view(self, request: Request, session: Session) -> tuple[View, Mapping[str, str]]:
        """Find what a path shows; raises Problem 404 or 405."""
        path, method = request.url.path, "GET" if request.method == "HEAD" else request.method
        found: list[tuple[View, Mapping[str, str]]] = []
        for shape, view in self._views:
            match = shape.fullmatch(path)
            if match and (view.needs is None or session.principal.role(catalogue.ROLES[view.needs]) is not None):
                found.append((view, match.groupdict()))
        right = next((each for each in found if each[0].method == method), None)
        if right is not None:
            return right
        if found:
            allowed = {"Allow": ", ".join(sorted({view.method for view, _ in found}))}
            told = "This method does nothing here", "Go back and use the form."
            raise Problem(405, "method-not-allowed", *told, headers=allowed)
        raise _nothing()

    async def _form(self, request: Request, session: Session) -> Mapping[str, list[str]]:
        """Read a form that came from a page of this session; raises Problem 403, 413."""
        form = await _fields(request)
        sent = request.headers.get("x-csrf-token") or next(iter(form.get("csrf", ())), "")
        if not _same_site(request) or not genuine(session, sent):
            raise _forged()
        return form

    async def _with_form(self, request: Request, guest: Guest) -> Guest:
        """Read the form of a door; it has no session yet, so where it came from decides; raises Problem 403, 413."""
        if request.method != "POST":
            return guest
        if not _same_site(request):
            raise _forged()
        return guest.sent(await _fields(request, MAX_STRANGERS_FORM))


def _to_sign_in(request: Request, renewal: str) -> Response:
    """Lead to the sign-in, or to the provider that may vouch again without a question.

    A page that asks by itself never leads to the provider: a desk that was left would be signed in for ever.
    """
    if renewal and BY_ITSELF in request.headers:
        return Response(status_code=401)
    if request.headers.get("hx-request") == "true":  # a part of a page cannot show another page
        to = f"{renewal}&next={quote(_path(request.headers.get('hx-current-url', '')))}" if renewal else "/sign-in"
        return HTMLResponse("", 401, {"HX-Redirect": to})
    if request.method in ("GET", "HEAD"):
        shown = request.headers.get("sec-fetch-mode", "navigate") == "navigate"  # sounds and pictures lead nowhere
        begin = f"{renewal}&" if renewal and shown else "/sign-in?"
        return RedirectResponse(f"{begin}next={quote(request.url.path)}", 303)
    return RedirectResponse("/sign-in", 303)


def _path(link: str) -> str:
    try:
        return urlsplit(link[:MAX_LINK]).path
    except ValueError:
        return ""


def _nothing() -> Problem:
    return Problem(404, "not-found", "Nothing is here", "There is no such page, or it is not for your role.")


def _forged() -> Problem:
    return Problem(403, "forged", "This form is not from this page", AGAIN)


def _declined(error: Declined) -> Problem:
    """Return what is answered where an account was changed between two pages."""
    return Problem(403, "declined", "Not possible now", str(error))


def _same_site(request: Request) -> bool:
    """Say whether a form was sent by a page of ours, as the browser tells (Fetch Metadata; else RFC 6454)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.headers.get('host', '')}"


async def _fields(request: Request, most: int = MAX_FORM) -> Mapping[str, list[str]]:
    data = await bodies.body(request, most)
    try:
        return parse_qs(data.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except (UnicodeDecodeError, ValueError):
        raise Problem(422, "invalid", "The form cannot be read", AGAIN) from None


def menu(views: Sequence[View], session: Session) -> list[View]:
    """Return the views of the menu that a session may see."""
    return [
        view
        for view in views
        if view.menu and (view.needs is None or session.principal.role(catalogue.ROLES[view.needs]) is not None)
    ]
