"""A request that needs no session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from admin_api.page.framework.forms import Secret
from admin_api.page.framework.sessions import Session
from admin_api.page.framework.templating import Templates
from admin_api.page.framework.translations import Translations


def there(request: Request) -> str:
    """Return path and query of a request."""
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


@dataclass(frozen=True, slots=True)
class PublicRequest:
    """One request whose sender may not be signed in."""

    http: Request
    """The raw request."""
    session: Session | None
    """The session, if the sender is signed in."""
    translations: Translations
    """The page's texts in the reader's language."""
    templates: Templates
    """The templates."""
    theme: str
    """light, dark, or "" for the system's setting."""
    ended: bool = False
    """Whether the sender's session has expired."""
    renewal: str = ""
    """Path at which a provider can renew the sender's expired session, "" if it cannot."""
    form: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    """The fields of a POST sent by our own page."""

    def one(self, name: str) -> str:
        """Return a field of the form, "" if it was not sent."""
        return next(iter(self.form.get(name, ())), "")

    def parameter(self, name: str) -> str:
        """Return a parameter of the address, "" if it was not given."""
        return self.http.query_params.get(name, "")

    @property
    def source(self) -> str:
        """Return the address that the request came from."""
        return self.http.client.host if self.http.client else ""

    @property
    def here(self) -> str:
        """Return path and query of the page shown."""
        return there(self.http) if self.http.method == "GET" else self.http.url.path

    def secret(self, template: str, onward: str, **values: Any) -> Response:
        """Answer with a page that is shown once; a reload is redirected to `onward`."""
        return Secret(bytes(self.page(template, **values, onward=onward).body).decode(), onward)

    def page(self, template: str, *, status: int = 200, wait: int = 0, **values: Any) -> Response:
        """Answer with a whole page that shows nothing of any customer; `wait`: seconds after which to try again."""
        known = {
            "request": None,
            "here": self.here,
            "ended": self.ended,
            "_": self.translations,
            "language": self.translations.language,
            "theme": self.theme,
            "person": None,
            "menu": (),
            "csrf": "",
            "path": self.http.url.path,
            "wait": wait,
        }
        headers = {"Retry-After": str(wait)} if wait else None
        return HTMLResponse(self.templates.page(template, {**known, **values}), status, headers)
