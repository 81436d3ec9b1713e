"""The page as an ASGI application: find session and view, check forms, put the same headers on every answer.

Order of checks: static file, public route (signing in), session, view, role, form. A view that a person's roles do
not allow is 404 and not in the menu, like an unknown path. The API checks the roles again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from admin_api.access.accounts_port import AccountService, Declined
from admin_api.assembly import page_routes
from admin_api.http import reading
from admin_api.http.authorise import Authoriser
from admin_api.http.bearer import Report
from admin_api.http.error_middleware import problem
from admin_api.http.messages import Message
from admin_api.http.problems import NO_METHOD, NOT_FOUND, NOT_NOW, Problem, too_many
from admin_api.http.rate_limit import PER_TOKEN, Limiter
from admin_api.page.framework.compression import compressed
from admin_api.page.framework.forms import OLD, SHOWN, UNSENT_SECONDS, UnsentForms, UnsentStore, forged
from admin_api.page.framework.page_request import STYLE_NONCE, PageRequest, View
from admin_api.page.framework.sessions import COOKIE, Ended, Session, Sessions, SessionStore, genuine
from admin_api.page.framework.static import PREFIX, shipped
from admin_api.page.framework.templating import Templates
from admin_api.page.framework.translations import Translations
from admin_api.page.sign_in import public_routes
from admin_api.page.sign_in.oidc_login import Way
from admin_api.page.sign_in.public_request import PublicRequest, there
from admin_api.page.sign_in.sign_in import Step
from storage.customer.customers import Customer
from storage.errors import StorageError

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Frame-Options": "DENY",
}
BY_ITSELF = "x-by-itself"
"""Header of a request that a page sends by itself; it does not keep an idle session alive."""
MAX_FORM = 256 << 10  # bytes; an annotation has 20,000 characters, each of which may take nine bytes in a form
MAX_PUBLIC_FORM = 32 << 10  # bytes; the longest form without a session is a passkey's answer: some thousands
MAX_LINK = 2048  # characters of a page's own address, as it reports it
UNSENT_COOKIE = "__Host-recorder-unsent"
"""Cookie with the key of the forms that are kept for this browser, where several nodes keep them."""
UNSENT = "/unsent"
"""Path that shows forms that were sent after their session had ended."""
LASTS = "/session"
"""Path where a page asks how long its session lasts; only a person's click extends the session."""
WITH_PASSWORD = "/account"
"""Forms below this path ask for passwords; they are never kept."""
MAX_FIELDS = 2000  # a page of a request's selection has one field for each call


class Site:
    """The ASGI application for every path outside /api and the health checks."""

    def __init__(
        self,
        authoriser: Authoriser,
        account_service: AccountService,
        *,
        report: Report,
        several: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Create the page; with `several`, other nodes serve it too, so everything it remembers is in the database."""
        stores = _shared(account_service.customers, random, monotonic) if several else {}
        self.sessions: SessionStore = stores.pop("sessions", None) or Sessions(random)
        self._account_service = account_service
        self._authoriser = authoriser
        self._report = report
        self._monotonic = monotonic
        self._per_session = Limiter(PER_TOKEN)
        self._static = shipped()
        self._templates = Templates()
        self._unsent: UnsentStore = stores.pop("unsent", None) or UnsentForms(random, monotonic)
        self._public_routes = public_routes.PublicRoutes(account_service, self.sessions, monotonic, random, **stores)
        self._views = [(compile_path(view.path)[0], view) for view in page_routes.VIEWS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as an ASGI application."""
        request = Request(scope, receive, send)
        response = await self.answer(request)
        response.headers.setdefault("Content-Security-Policy", content_security_policy(scope.get(STYLE_NONCE, "")))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        await compressed(request, response)(scope, receive, send)

    def nowhere(self, request: Request) -> Response:
        """Answer a browser that asks for an unknown path."""
        page = self._stranger(request).page("refused.html", status=404, problem=_nothing())
        page.headers.update({**HEADERS, "Content-Security-Policy": content_security_policy()})
        return page

    async def answer(self, request: Request) -> Response:
        """Answer a request; errors become a page too."""
        if request.url.path.startswith(PREFIX):
            return self._static.answer(request)
        public = self._stranger(request)
        try:
            return await self._answer(request, *await self._known(request, public))
        except Exception as error:
            refused = self._refusal(error)
            page = public.page("refused.html", status=refused.status, problem=refused)
            page.headers.update(refused.headers)
            return page

    def _refusal(self, error: Exception) -> Problem:
        """Return the answer to a failure, after reporting one that is not the person's."""
        if isinstance(error, Declined):  # an account was changed between two pages
            return Problem(403, "declined", NOT_NOW, Message(f"trouble.{error}", str(error)))
        return problem(error, self._report)

    async def _answer(self, request: Request, public: PublicRequest, ended: Ended | None) -> Response:
        session = public.session
        handler = self._public_routes.find(request.method, request.url.path)
        if handler is not None:
            return await handler(await self._with_form(request, public))
        if session is None:
            return await self._too_late(request, public, ended)
        wait = self._per_session.take(session.principal.token, self._monotonic())
        if wait:
            raise too_many(wait)
        form: Mapping[str, list[str]] = {}
        if request.url.path in (LASTS, UNSENT) or request.url.path.startswith(SHOWN):
            return await self._own(request, public, session)
        view, ids = self._view(request, session)
        if view.method == "POST":
            form = await _fields(request)
            if await self._from_before(request, session, form):
                return await self._keep(request, request.url.path, session.whose, form)
            _check(request, session, form)
        page_request = self._page_request(request, public, session, form)
        if view.method == "POST":
            async with self.sessions.turn(session, page_request.one("once")):
                return await self._once(page_request, lambda: view.answer(page_request, ids))
        return await view.answer(page_request, ids)

    async def _once(self, page_request: PageRequest, act: Callable[[], Awaitable[Response]]) -> Response:
        """Answer a form; a form with an id, as those of our pages have, is accepted once."""
        forms = page_request.session.forms
        if page_request.one("once"):
            answer = await forms.take(page_request.one("once"), act, self._monotonic())
        else:
            answer = forms.kept(await act())
        if page_request.one("unsent") and answer.status_code == 303:
            browser = page_request.http.cookies.get(UNSENT_COOKIE, "")
            await self._unsent.drop(page_request.one("unsent"), page_request.session.whose, browser)
        return answer

    def _page_request(
        self,
        request: Request,
        public: PublicRequest,
        session: Session,
        form: Mapping[str, list[str]] = MappingProxyType({}),
    ) -> PageRequest:
        return PageRequest(
            request,
            session,
            self._authoriser,
            public.translations,
            self._templates,
            public.theme,
            self._refusal,
            menu(page_routes.VIEWS, session),
            form,
            self._account_service,
            here=self._page_of(request),
            left=session.left(self._monotonic()),
        )

    async def _own(self, request: Request, public: PublicRequest, session: Session) -> Response:
        """Answer the paths that belong to no view: results shown once, unsent forms, the session's remaining time."""
        path, now, browser = request.url.path, self._monotonic(), request.cookies.get(UNSENT_COOKIE, "")
        if request.method == "POST":
            form = await _fields(request)
            if path != UNSENT:
                raise _nothing()
            if "action" in form:  # typed on a page whose session has just ended or is about to
                _check(request, session, form, also=await self.sessions.before(session, _csrf(request, form)))
                return await self._keep(request, _first(form, "action"), session.whose, form)
            _check(request, session, form)
            await self._unsent.drop(_first(form, "unsent"), session.whose, browser)
            return RedirectResponse(UNSENT, 303)
        if path == LASTS:
            longest = session.left(now) >= session.ends - now
            return JSONResponse({"seconds": int(session.left(now)), "longest": longest})
        if path == UNSENT:
            forms = await self._unsent.of(session.whose, browser)
            return self._page_request(request, public, session).page("unsent.html", forms=forms)
        async with self.sessions.turn(session):
            found = session.forms.look(path.removeprefix(SHOWN), now)
        return RedirectResponse(found, 303) if isinstance(found, str) else found

    async def _too_late(self, request: Request, public: PublicRequest, ended: Ended | None) -> Response:
        """Answer somebody who is not signed in; a form of a session that has ended is kept for its sender."""
        if request.url.path == LASTS:
            return Response(status_code=401 if public.renewal else 410)
        if request.method == "POST" and ended is not None and _same_site(request):
            form = await _fields(request)
            if genuine(ended, _csrf(request, form)):
                action = _first(form, "action") if request.url.path == UNSENT else request.url.path
                kept = await self._keep(request, action, ended.whose, form)
                to = _to_sign_in(request, public.renewal, kept.headers["location"])
                to.raw_headers += [pair for pair in kept.raw_headers if pair[0] == b"set-cookie"]
                return to
        if request.url.path == UNSENT and request.method == "POST":
            return Response(status_code=410)  # a session before a restart: the form is not kept
        return _to_sign_in(request, public.renewal, self._page_of(request), lost=request.method == "POST")

    async def _keep(
        self, request: Request, action: str, whose: tuple[str, str], form: Mapping[str, list[str]]
    ) -> Response:
        """Keep a form and redirect to where its sender can send it; only redirect to its page if it has a password."""
        back = self._above(action)
        if action == WITH_PASSWORD or action.startswith(f"{WITH_PASSWORD}/") or not self._takes(action):
            return RedirectResponse(back, 303)
        key = await self._unsent.keep(whose, action, back, form, request.cookies.get(UNSENT_COOKIE, ""))
        answer = RedirectResponse(UNSENT, 303)
        if key:
            lasts = int(UNSENT_SECONDS)
            answer.set_cookie(UNSENT_COOKIE, key, lasts, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    def _takes(self, path: str) -> bool:
        return any(view.method == "POST" and shape.fullmatch(path) for shape, view in self._views)

    async def _from_before(self, request: Request, session: Session, form: Mapping[str, list[str]]) -> bool:
        """Return whether a form is from an ended session of the person who is now signed in."""
        sent = _csrf(request, form)
        return _same_site(request) and not genuine(session, sent) and await self.sessions.before(session, sent)

    def _page_of(self, request: Request) -> str:
        """Return the page of a request, or the one its form was on."""
        return self._above(request.url.path) if request.method == "POST" else there(request)

    def _above(self, path: str) -> str:
        """Return the path if it is a page, else its nearest parent that is one."""
        while path and not any(view.method == "GET" and shape.fullmatch(path) for shape, view in self._views):
            path = path.rpartition("/")[0]
        return path or "/"

    def _stranger(self, request: Request) -> PublicRequest:
        """Return a request of which only the language is known."""
        translations = Translations.chosen(
            request.cookies.get("language", ""), request.headers.get("accept-language", "")
        )
        theme = request.cookies.get("theme", "")
        chosen = theme if theme in ("light", "dark") else ""
        return PublicRequest(request, None, translations, self._templates, chosen)

    async def _known(self, request: Request, public: PublicRequest) -> tuple[PublicRequest, Ended | None]:
        """Find the session of a request, and what is remembered of an expired session. Raises StorageError."""
        cookie = request.cookies.get(COOKIE, "")
        busy = BY_ITSELF not in request.headers
        found = await self.sessions.look(cookie, public.source, self._monotonic(), busy=busy)
        session = found.session
        if session is not None and not self._stands(session):
            with suppress(Problem):
                async with self.sessions.turn(session):  # whoever changes the account may be changing the session, too
                    pass
            if not self._stands(session):
                await self.sessions.close(session)
                session = None
        over = session is None and not found.renewal and found.ended is not None
        return replace(public, session=session, ended=over, renewal=found.renewal), found.ended

    def _stands(self, session: Session) -> bool:
        """Return whether the account behind a session is still valid and unchanged; checked on every request."""
        if session.person is None:
            return True
        try:
            return self._account_service.stands(session.person)
        except StorageError as error:  # a damaged file of one customer locks out that customer alone
            self._report(error)
            return False

    def _view(self, request: Request, session: Session) -> tuple[View, Mapping[str, str]]:
        """Find the view of a path; raises Problem 404 or 405."""
        path, method = request.url.path, "GET" if request.method == "HEAD" else request.method
        found: list[tuple[View, Mapping[str, str]]] = []
        for shape, view in self._views:
            match = shape.fullmatch(path)
            if match and _may(session, view):
                found.append((view, match.groupdict()))
        right = next((each for each in found if each[0].method == method), None)
        if right is not None:
            return right
        if found:
            allowed = {"Allow": ", ".join(sorted({view.method for view, _ in found}))}
            detail = Message("problem.use-the-form", "Go back and use the form.")
            raise Problem(405, "method-not-allowed", NO_METHOD, detail, headers=allowed)
        raise _nothing()

    async def _with_form(self, request: Request, public: PublicRequest) -> PublicRequest:
        """Read the form of a public route; without a session, its origin is checked. Raises Problem 403, 413."""
        if request.method != "POST":
            return public
        if not _same_site(request):
            raise forged()
        return replace(public, form=await _fields(request, MAX_PUBLIC_FORM))


def _shared(
    customers: Mapping[str, Customer], random: Callable[[int], bytes], monotonic: Callable[[], float]
) -> dict[str, Any]:
    """Return the stores of the page and of signing in that several nodes keep in the database."""
    from admin_api.page.framework.shared_forms import SharedUnsentForms
    from admin_api.page.framework.shared_sessions import SharedSessions
    from admin_api.page.sign_in.shared_logins import SharedAttempts, SharedPending

    return {
        "sessions": SharedSessions(customers, random, monotonic),
        "unsent": SharedUnsentForms(customers, random),
        "steps": SharedPending(customers, random, monotonic, Step.parse),
        "ways": SharedPending(customers, random, monotonic, Way.parse),
        "attempts": SharedAttempts(customers),
    }


def _to_sign_in(request: Request, renewal: str, next: str = "", *, lost: bool = False) -> Response:
    """Redirect to sign-in, or to the provider that may confirm the person again silently; then to `next`.

    With `lost`, the sign-in page shows that the form was not kept.

    A page that refreshes itself never redirects to the provider: an abandoned browser would stay signed in for ever.
    """
    if renewal and BY_ITSELF in request.headers:
        return Response(status_code=401)
    if request.headers.get("hx-request") == "true":  # a part of a page cannot show another page
        to = f"{renewal}&next={quote(_path(request.headers.get('hx-current-url', '')))}" if renewal else "/sign-in"
        return HTMLResponse("", 401, {"HX-Redirect": to})
    if request.method in ("GET", "HEAD"):
        shown = request.headers.get("sec-fetch-mode", "navigate") == "navigate"  # audio and images are not pages
        begin = f"{renewal}&" if renewal and shown else "/sign-in?"
        return RedirectResponse(f"{begin}next={quote(there(request)[:MAX_LINK])}", 303)
    begin = f"{renewal}&" if renewal else "/sign-in?"
    return RedirectResponse(f"{begin}next={quote(next)}{'&lost=1' if lost else ''}" if next else "/sign-in", 303)


def _path(link: str) -> str:
    """Return path and query of the address that a page reports as its own."""
    try:
        parts = urlsplit(link[:MAX_LINK])
    except ValueError:
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _nothing() -> Problem:
    detail = Message("problem.no-page", "This page does not exist, or your role may not see it.")
    return Problem(404, "not-found", NOT_FOUND, detail)


def _first(form: Mapping[str, list[str]], name: str) -> str:
    return next(iter(form.get(name, ())), "")


def _csrf(request: Request, form: Mapping[str, list[str]]) -> str:
    return request.headers.get("x-csrf-token") or _first(form, "csrf")


def _check(request: Request, session: Session, form: Mapping[str, list[str]], *, also: bool = False) -> None:
    """Check that a form came from a page of this session, or `also` of a former one; raises Problem 403."""
    if not _same_site(request) or not (also or genuine(session, _csrf(request, form))):
        raise forged()


def _same_site(request: Request) -> bool:
    """Return whether the browser says that our own page sent the form (Fetch Metadata; else Origin, RFC 6454)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.headers.get('host', '')}"


async def _fields(request: Request, most: int = MAX_FORM) -> Mapping[str, list[str]]:
    data = await reading.body(request, most)
    try:
        return parse_qs(data.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except (UnicodeDecodeError, ValueError):
        raise Problem(422, "invalid", Message("problem.unreadable", "The form cannot be read"), OLD) from None


def content_security_policy(style_nonce: str = "") -> str:
    """Return the policy of a page; `style_nonce` is for the one style element that a script adds."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{style_nonce}'" if style_nonce else "style-src 'self'",
            "img-src 'self' data:",  # the icons in Pico's style sheet
            "media-src 'self' blob:",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def menu(views: Sequence[View], session: Session) -> list[View]:
    """Return the views of the menu that a session may see."""
    return [view for view in views if view.menu and _may(session, view)]


def _may(session: Session, view: View) -> bool:
    return view.needs is None or session.principal.role(page_routes.ROLES[view.needs]) is not None
