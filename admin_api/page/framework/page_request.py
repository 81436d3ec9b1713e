"""A view of the page, and the request that it answers: session, templates, and the API with that person's rights."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from admin_api.access.accounts_port import AccountService
from admin_api.http.permissions import RULES, Action, is_id
from admin_api.page.framework.forms import Secret
from admin_api.page.framework.in_process_api import Answer, Api
from admin_api.page.framework.sessions import Session
from admin_api.page.framework.templating import Templates
from admin_api.page.framework.translations import Translations

Shown = Callable[["PageRequest", Answer], Awaitable[Response]]
"""Shows a view once more, with what the API said no to."""

_ROLES = {rule.action: rule.roles for rule in RULES}


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request of somebody who is signed in."""

    http: Request
    """As it came; `path_params` holds the ids of the path."""
    session: Session
    """Whose it is."""
    api: Api
    """The API as this person may use it."""
    translations: Translations
    """The page's texts in this person's language."""
    templates: Templates
    """The templates."""
    theme: str
    """light, dark, or "" for what the system says."""
    menu: Sequence[View] = ()
    """The views that this person finds in the menu."""
    form: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    """The fields of a POST; the form came from a page of this session."""
    service: AccountService | None = field(default=None, repr=False)
    """Accounts, for the view of one's own; None if nobody has any."""
    here: str = "/"
    """Path and query of the page that is looked at, or that the form stood on."""
    left: float = 0.0
    """Seconds until the session ends if nobody does anything."""

    def once(self) -> str:
        """Return the id of a form that is being rendered; it is taken once."""
        return self.session.forms.issue()

    def secret(self, template: str, onward: str, **values: Any) -> Response:
        """Answer with a page that is shown once; whoever looks at it again is led to `onward`."""
        return Secret(self.templates.page(template, self.shown({**values, "onward": onward})), onward)

    def may(self, action: Action) -> bool:
        """Say whether this person's roles allow something; the API checks again when it is requested."""
        return self.session.principal.role(_ROLES[action]) is not None

    def one(self, name: str) -> str:
        """Return a field of the form, "" if it was not sent."""
        return next(iter(self.form.get(name, ())), "")

    @property
    def path_id(self) -> str:
        """Return the id of the path; what is no id leads to the 404 of the API."""
        id = str(self.http.path_params["id"])
        return id if is_id(id) else "-"

    @property
    def from_htmx(self) -> bool:
        """Say whether htmx asks, so that a part of the page is enough."""
        return self.http.headers.get("hx-request") == "true"

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Answer with a whole page."""
        return HTMLResponse(self.templates.page(template, self.shown(values)), status)

    def part(self, template: str, block: str, **values: Any) -> Response:
        """Answer with one block of a page, for htmx to put in its place."""
        return HTMLResponse(self.templates.part(template, block, self.shown(values)))

    def listed(self, template: str, answer: Answer, **values: Any) -> Response:
        """Answer with one page of a list as the API gave it, or with what it said no to above the form."""
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
        """Go on where an act led; what the API says no to is shown above what it was tried on."""
        return self.moved(to) if answer.well else await shown(self, answer)

    def moved(self, to: str) -> Response:
        """Answer a form with the page to look at now."""
        return RedirectResponse(to, 303)

    async def signed(self, place: str, member: str, name: str) -> Response:
        """Hand out what the API shows signed at a place, as the file that `recorder audit verify --receipt` reads."""
        answer = await self.api.get(place)
        if not answer.well:
            return self.refused(answer)
        signed = answer.document[member]
        return self.moved(place) if signed is None else self.file(signed, name)

    def file(self, document: Any, name: str) -> Response:
        """Answer with a document of the API as a file to keep."""
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(json.dumps(document, indent=1).encode(), media_type="application/json", headers=headers)

    def refused(self, answer: Answer) -> Response:
        """Answer with what the API said no to, in words for people."""
        return self.page("refused.html", status=answer.status, problem=answer.document)

    def shown(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what every template knows, and these values."""
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
    """As Starlette writes it: /calls/{id}."""
    show: Show
    """Answers it."""
    needs: Action | None = None
    """What the person's roles must allow for the view to exist for them; None: everybody who is signed in."""
    menu: str = ""
    """Its name in the menu, in English; "" keeps it out."""
