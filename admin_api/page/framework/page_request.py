"""A view of the page and its request: session, templates, and the person, who calls the endpoints of the API.

    @view("POST", "/calls/{id}/hold", Action.HOLD, form=call.one.show)
    async def hold(request: PageRequest, id: str) -> str:
        \"""Put the call under legal hold.\"""
        await holds.put.ask(request.caller(), id, body={"reason": request.one("reason")})
        return f"/calls/{id}"

A view returns what it shows, or the path to go to next. A refusal that it raises is shown above the page with its form,
or else on a separate page.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from admin_api.access.accounts_port import AccountService
from admin_api.http import responses
from admin_api.http.authorise import Authoriser
from admin_api.http.authorised_request import Caller
from admin_api.http.permissions import Action
from admin_api.http.problems import Problem
from admin_api.page.framework.forms import Secret
from admin_api.page.framework.sessions import Session
from admin_api.page.framework.templating import Templates
from admin_api.page.framework.translations import Translations
from storage.ids import is_id

T = TypeVar("T", bound=Mapping[str, Any])
Show = Callable[..., Awaitable[Response | str]]
"""Function of the request and the path's ids; returns what is shown, or the path to go to next. Raises Problem."""

STYLE_NONCE = "recorder.style_nonce"
"""Key of the request's scope: the nonce of a style element that a script adds (CSP level 3 section 8.1)."""
NO_ID = "-"
"""Replaces a text in a path that is not an id; no object has it."""


@dataclass(slots=True)
class PageRequest:
    """One request of a signed-in person."""

    http: Request
    """The raw request."""
    session: Session
    """The person's session."""
    authoriser: Authoriser
    """Knows the endpoints of the API, and who may call them."""
    translations: Translations
    """The page's texts in this person's language."""
    templates: Templates
    """The templates."""
    theme: str
    """light, dark, or "" for the system's setting."""
    refusal: Callable[[Exception], Problem]
    """Returns the answer to a failure, after reporting one that is not the person's."""
    menu: Sequence[View] = ()
    """The views in this person's menu."""
    form: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    """The fields of a POST; the form came from a page of this session."""
    service: AccountService | None = field(default=None, repr=False)
    """The accounts, for the view of the person's own account; None if there are none."""
    here: str = "/"
    """Path and query of the page shown, or of the page the form was on."""
    left: float = 0.0
    """Seconds until the session ends if idle."""
    problem: Problem | None = None
    """The refusal that the page shows; its status is that of the page."""

    def caller(self, shows: str = "", *, again: bool | None = None) -> Caller:
        """Return the person, who calls endpoints as functions.

        `shows`: what a refresh shows `again`, by default one by htmx; the audit log has one entry a minute for it.
        """
        repeats = self.from_htmx if again is None else again
        return self.authoriser.caller(self.http, self.session.principal, again=shows if repeats else "")

    def may(self, action: Action) -> bool:
        """Return whether this person's roles allow an action; the API checks again."""
        return self.session.principal.role(self.authoriser.roles(action)) is not None

    def once(self) -> str:
        """Return an id for a form that is being rendered; it is accepted once."""
        return self.session.forms.issue()

    def style_nonce(self) -> str:
        """Return the nonce by which a script of this answer, and of no other, may add a style element."""
        return str(self.http.scope.setdefault(STYLE_NONCE, secrets.token_urlsafe(16)))

    def one(self, name: str) -> str:
        """Return a field of the form, "" if it was not sent."""
        return next(iter(self.form.get(name, ())), "")

    def asked(self, name: str) -> str:
        """Return a parameter of the address, "" if it was not given."""
        return self.http.query_params.get(name, "").strip()

    @property
    def from_htmx(self) -> bool:
        """Return whether htmx sent the request, so that a part of the page is enough."""
        return self.http.headers.get("hx-request") == "true"

    def page(self, template: str, *, status: int = 0, block: str = "", **values: Any) -> Response:
        """Answer with a page, and with the status of the refusal that it shows; htmx gets one block of it, if any."""
        if block and self.from_htmx:
            return self.part(template, block, **values)
        code, headers = (self.problem.status, self.problem.headers) if self.problem else (200, None)
        return HTMLResponse(self.templates.page(template, self.shown(values)), status or code, headers)

    def part(self, template: str, block: str, **values: Any) -> Response:
        """Answer with one block of a page, for htmx to put in its place."""
        return HTMLResponse(self.templates.part(template, block, self.shown(values)))

    def secret(self, template: str, onward: str, **values: Any) -> Response:
        """Answer with a page that is shown once; a reload is redirected to `onward`."""
        return Secret(self.templates.page(template, self.shown({**values, "onward": onward})), onward)

    def file(self, document: Any, name: str) -> Response:
        """Answer with a document of the API as a download."""
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(json.dumps(document, indent=1).encode(), media_type="application/json", headers=headers)

    async def found(self, list_: Awaitable[T]) -> T:
        """Return one page of a list; if the API refuses it, return an empty one and show the refusal above the form.

        Raises Problem if htmx sent the request: the page then stays as it is.
        """
        try:
            return await list_
        except Exception as error:
            refused = self.refusal(error)
            if self.from_htmx:
                raise refused from None
        self.problem = self.problem or refused
        return cast("T", {"items": [], "next_cursor": None})

    async def listed(self, template: str, list_: Awaitable[Mapping[str, Any]], **values: Any) -> Response:
        """Answer with one page of a list, or with its refusal above the form."""
        return self.page(template, **self.paged(await self.found(list_)), **values)

    def paged(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return the template variables for one page of a list."""
        return {"items": found["items"], "cursor": found["next_cursor"], "newest": "cursor" in self.http.query_params}

    def shown(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the variables of every template, and these values."""
        return {
            "request": self,
            "_": self.translations,
            "language": self.translations.language,
            "theme": self.theme,
            "menu": self.menu,
            "person": self.session.principal,
            "csrf": self.session.csrf,
            "csrf_headers": json.dumps({"X-CSRF-Token": self.session.csrf}),
            "path": self.http.url.path,
            "here": self.here,
            "problem": self.problem,
            "Action": Action,
            **values,
        }


@dataclass(frozen=True, slots=True)
class View:
    """A path of the page."""

    method: str
    """GET, or POST for the action of a form."""
    path: str
    """Path in Starlette's form: /calls/{id}."""
    needs: Action | None
    """The action that the person's roles must allow, else 404; None: everybody who is signed in."""
    show: Show
    """The handler."""
    menu: str = ""
    """Its name in the menu, in English; "" keeps it out."""
    form: Show | None = None
    """Shows the page that its form is on, where a refusal stands above the form; without it, the refusal is a page."""
    file: bool = False
    """Answers with a file; a refusal is a problem document unless a person followed a link."""

    async def answer(self, request: PageRequest, ids: Mapping[str, str]) -> Response:
        """Answer a request for this path; a refusal or a failure is shown."""
        named = {name: id if is_id(id) else NO_ID for name, id in ids.items()}
        for show in filter(None, (self.show, self.form)):
            try:
                shown = await show(request, **named)
            except Exception as error:
                request.problem = request.refusal(error)
            else:
                return RedirectResponse(shown, 303) if isinstance(shown, str) else shown
        return self._refused(request, cast("Problem", request.problem))

    def _refused(self, request: PageRequest, problem: Problem) -> Response:
        if request.from_htmx:  # the page stays, unless its object is gone: a reload then shows that
            return Response(None, problem.status, {"HX-Refresh": "true"} if problem.status == 404 else None)
        if self.file and request.http.headers.get("sec-fetch-mode") != "navigate":
            return responses.problem(problem)
        return request.page("refused.html")


def view(
    method: str, path: str, needs: Action | None = None, *, menu: str = "", form: Show | None = None, file: bool = False
) -> Callable[[Show], View]:
    """Declare a view; the decorated function answers it."""
    return lambda show: View(method, path, needs, show, menu, form, file)
