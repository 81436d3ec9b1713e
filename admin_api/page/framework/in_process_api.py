"""Call the API from a view: in this process, with all its checks and the rights of the signed-in person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from admin_api.http import responses
from admin_api.http.authorise import Authoriser
from admin_api.http.authorised_request import Caller
from admin_api.http.bearer import Principal, Report
from admin_api.http.error_middleware import problem
from admin_api.http.permissions import Action
from admin_api.http.problems import Problem

Query = Mapping[str, str | int | None] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API."""

    status: int
    """HTTP status."""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The document; title, detail and errors of a problem unless `well`."""

    @property
    def well(self) -> bool:
        """Return whether it was a success."""
        return self.status < 400

    @property
    def items(self) -> Sequence[Mapping[str, Any]]:
        """Return the items of a list; empty for any other answer."""
        return cast("Sequence[Mapping[str, Any]]", self.document.get("items", ()))

    @property
    def incomplete(self) -> bool:
        """Return whether a list is incomplete at the moment."""
        return self.document.get("incomplete") is True

    @property
    def next_cursor(self) -> str | None:
        """Return the cursor of the next page of a list."""
        found = self.document.get("next_cursor")
        return str(found) if found else None


class Api:
    """Everything below /api/v1/customers/{customer of the session}."""

    def __init__(self, authoriser: Authoriser, report: Report, request: Request, principal: Principal) -> None:
        self._authoriser = authoriser
        self._report = report
        self._request = request
        self._principal = principal

    def caller(self, again: str = "") -> Caller:
        """Return the person, who can call endpoints as functions; `again`: what a view shows that refreshes itself."""
        return self._authoriser.caller(self._request, self._principal, again=again)

    def may(self, action: Action) -> bool:
        """Return whether the person's roles allow an action."""
        return self._principal.role(self._authoriser.roles(action)) is not None

    async def get(self, path: str, query: Query = (), *, again: bool = False) -> Answer:
        """Get a document; `again`: the view refreshes itself."""
        return await self._ask("GET", path, query, None, again=again)

    async def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Send a request that changes something."""
        return await self._ask(method, path, (), body)

    async def stream(self, path: str, query: Query = (), *, again: bool = False) -> Response:
        """Get media or a file and pass the answer on, including ranges; raises Problem."""
        method = "HEAD" if self._request.method == "HEAD" else "GET"
        return responses.success(await self._asked(method, path, query, None, again=again), 200)

    async def _ask(
        self, method: str, path: str, query: Query, body: Mapping[str, Any] | None, *, again: bool = False
    ) -> Answer:
        try:
            return Answer(200, await self._asked(method, path, query, body, again=again) or {})
        except Exception as error:  # as authorise does for requests from the network
            return refusal(problem(error, self._report))

    async def _asked(
        self, method: str, path: str, query: Query, body: Mapping[str, Any] | None, *, again: bool = False
    ) -> Any:
        pairs = _pairs(query)
        caller = self.caller(f"{path}?{urlencode(pairs)}" if again else "")
        return await self._authoriser.ask(caller, method, path, pairs, body)


def refusal(problem: Problem) -> Answer:
    """Return a refusal as an answer."""
    return Answer(problem.status, {"title": problem.title, "detail": problem.detail, "errors": problem.errors})


def _pairs(query: Query) -> list[tuple[str, str]]:
    """Return the parameters without empty ones."""
    pairs = query.items() if isinstance(query, Mapping) else query
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]
