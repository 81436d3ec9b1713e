"""One view: a method, a path, who may see it, and what answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.visit import Visit

Show = Callable[[Visit], Awaitable[Response]]


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
    """What the visitor's roles must allow for the view to exist for them; None: everybody who is signed in."""
    menu: str = ""
    """Its name in the menu, in English; "" keeps it out."""
