"""A view of the page and its request: session, templates, and the API with the person's rights."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from admin_api.access.accounts_port import AccountService
from admin_api.http.permissions import Action
from admin_api.page.framework.forms import Secret
from admin_api.page.framework.in_process_api import Answer, Api
from admin_api.page.framework.sessions import Session
from admin_api.page.framework.templating import Templates
from admin_api.page.framework.translations import Translations
from storage.ids import is_id

Shown = Callable[["PageRequest", Answer], Awaitable[Response]]
"""Renders a view again with the API's refusal."""

STYLE_NONCE = "recorder.style_nonce"
"""Key of the request's scope: the nonce of a style element that a script adds (CSP level 3 section 8.1)."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request of a signed-in person."""

    http: Request
    """The raw request; `path_params` holds the ids of the path."""
    session: Session
    """The person's session."""
    api: Api
    """The API with this person's rights."""
    translations: Translations
    """The page's texts in this person's language."""
    templates: Templates
    """The templates."""
    theme: str
    """light, dark, or "" for the system's setting."""
    menu: Sequence[View] = ()
    """The views in this person's menu."""
    form: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    """The fields of a POST; the form came from a page of this session."""
    service: AccountService | None = field(default=None, repr=False)
    """The accounts, for the view of one's own; None if there are none."""
    here: str = "/"
    """Path and query of the page shown, or of the page the form was on."""
    left: float = 0.0
    """Seconds until the session ends if idle."""

    def once(self) -> str:
        """Return an id for a form that is being rendered; it is accepted once."""
        return self.session.forms.issue()

    def style_nonce(self) -> str:
        """Return the nonce by which a script of this answer, and of no other, may add a style element."""
        return str(self.http.scope.setdefault(STYLE_NONCE, secrets.token_urlsafe(16)))

    def secret(self, template: str, onward: str, **values: Any) -> Response:
        """Answer with a page that is shown once; a reload is redirected to `onward`."""
        return Secret(self.templates.page(template, self.shown({**values, "onward": onward})), onward)

    def may(self, action: Action) -> bool:
        """Return whether this person's roles allow an action; the API checks again."""
        return self.api.may(action)

    def one(self, name: str) -> str:
        """Return a field of the form, "" if it was not sent."""
        return next(iter(self.form.get(name, ())), "")

    @property
    def path_id(self) -> str:
        """Return the id of the path; an invalid one becomes one that the API answers with 404."""
        id = str(self.http.path_params["id"])
        return id if is_id(id) else "-"

    @property
    def from_htmx(self) -> bool:
        """Return whether htmx sent the request, so that a part of the page is enough."""
        return self.http.headers.get("hx-request") == "true"

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Answer with a whole page."""
        return HTMLResponse(self.templates.page(template, self.shown(values)), status)

    def part(self, template: str, block: str, **values: Any) -> Response:
        """Answer with one block of a page, for htmx to put in its place."""
        return HTMLResponse(self.templates.part(template, block, self.shown(values)))

    def listed(self, template: str, answer: Answer, **values: Any) -> Response:
        """Answer with one page of a list, or with the API's refusal above the form."""
        return self.page(
            template,
            status=answer.status,
            items=answer.items,
            problem=None if answer.well else answer.document,
            cursor=answer.next_cursor,
            newest="cursor" in self.http.query_params,
            **values,
        )

    async def after(self, answer: Answer, to: str, shown: Shown) -> Response:
        """Redirect after an action; show a refusal of the API above the view it was tried on."""
        return self.moved(to) if answer.well else await shown(self, answer)

    def moved(self, to: str) -> Response:
        """Redirect a form to the page to show next."""
        return RedirectResponse(to, 303)

    async def signed(self, place: str, member: str, name: str) -> Response:
        """Answer with a signed document of the API as the file that `recorder audit verify --receipt` reads."""
        answer = await self.api.get(place)
        if not answer.well:
            return self.refused(answer)
        signed = answer.document[member]
        return self.moved(place) if signed is None else self.file(signed, name)

    def file(self, document: Any, name: str) -> Response:
        """Answer with a document of the API as a download."""
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(json.dumps(document, indent=1).encode(), media_type="application/json", headers=headers)

    def refused(self, answer: Answer) -> Response:
        """Answer with the API's refusal, in words for people."""
        return self.page("refused.html", status=answer.status, problem=answer.document)

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
            "Action": Action,
            **values,
        }


Show = Callable[[PageRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class View:
    """A path of the page."""

    method: str
    """GET, or POST for what a form does."""
    path: str
    """Path in Starlette's form: /calls/{id}."""
    show: Show
    """Answers it."""
    needs: Action | None = None
    """The action that the person's roles must allow, else 404; None: everybody who is signed in."""
    menu: str = ""
    """Its name in the menu, in English; "" keeps it out."""
