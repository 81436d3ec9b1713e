"""An endpoint is one declaration: path, roles, typed query, body and answer, problems, and the handler.

    @endpoint("PUT", "/calls/{id}/hold", Action.HOLD, PRIVACY)
    async def put(request: AuthorisedRequest, id: str, body: HoldRequest) -> Hold:
        \"""Put a call under legal hold.

        A second time, it changes the reason.
        \"""

The ids of the path come first, then `query` and `body` by name, if there are any. The first line of the docstring is
the summary in the OpenAPI document (`assembly.openapi`), which comes from these declarations. A handler raises Problem;
the audit log gets one entry, after the handler unless it writes an earlier one with `note`.

The page calls an endpoint as a function, with a Caller and the same arguments: role and audit log are included. With
`ask`, query and body are checked first.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, get_type_hints

from admin_api.http import reading
from admin_api.http.authorised_request import AuthorisedRequest, Caller
from admin_api.http.permissions import Action, Role
from admin_api.http.problems import Problem, forbidden
from admin_api.http.types import Given, Nothing

P = ParamSpec("P")
R = TypeVar("R")
Pairs = Iterable[tuple[str, str]]
Run = Callable[Concatenate[AuthorisedRequest, P], Awaitable[R]]

PREFIX = "/api/v1/customers/"
"""Everything of one customer lies below this and the customer's name."""


@dataclass(frozen=True)
class Endpoint(Generic[P, R]):
    """One method of one path."""

    run: Run[P, R]
    """The handler."""
    method: str
    """HTTP method; HEAD counts as GET."""
    path: str
    """Path below the customer; a name in braces stands for one segment."""
    action: Action
    """Its name in the audit log."""
    roles: tuple[Role, ...]
    """The roles that may use it; a token needs one of them."""
    status: int = 200
    """Status of success; 204 if the handler returns nothing."""
    conflict: str = ""
    """Meaning of 409; "" if it cannot happen."""
    files: tuple[str, ...] = ()
    """Media types, if the answer is a file."""
    ranges: bool = False
    """Whether ranges of the file can be requested."""
    limit: int = reading.MAX_BODY
    """Maximum size of the body in bytes."""
    seconds: float = reading.BODY_SECONDS
    """Seconds for the whole body to arrive."""

    async def __call__(self, caller: Caller, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the endpoint for an authenticated caller; the ids of the path come first. Raises Problem."""
        request = await self.admit(caller, str(args[0]) if self.names else "")
        async with request.audited():
            return await self.run(request, *args, **kwargs)

    async def ask(
        self,
        caller: Caller,
        /,
        *ids: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> R:
        """Run the endpoint with a query and body that are not checked yet, as from a form; raises Problem.

        An empty field of the query counts as left out.
        """
        request, run = await self.admit(caller, ids[0] if ids else ""), cast("Callable[..., Awaitable[R]]", self.run)
        async with request.audited():
            found = self._asked((name, str(value)) for name, value in (query or {}).items() if value not in (None, ""))
            if self.body is not None and issubclass(self.body, Given) and not (body is None and self.optional):
                found |= self._given(reading.checked(self.body, body))
            return await run(request, *ids, **found)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the ids in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @cached_property
    def query(self) -> type[Given]:
        """The type of the query."""
        found: type[Given] = self._hints.get("query", Nothing)
        return found

    @cached_property
    def body(self) -> type[Given] | type[bytes] | None:
        """The type of the body, bytes if it is a file; None if none is read."""
        found: type[Given] | None = self._hints.get("body", Nothing if self.method in ("POST", "PUT") else None)
        return found

    @cached_property
    def optional(self) -> bool:
        """Whether the body may be empty."""
        declared = inspect.signature(self.run).parameters.get("body")
        return declared is None or declared.default is not inspect.Parameter.empty

    @cached_property
    def answer(self) -> Any:
        """The type of the answer."""
        return self._hints["return"]

    @cached_property
    def _hints(self) -> Mapping[str, Any]:
        return get_type_hints(self.run, include_extras=True)

    async def admit(self, caller: Caller, object: str) -> AuthorisedRequest:
        """Check the caller's roles; raises Problem 403, whether the object exists or not."""
        role = caller.principal.role(self.roles)
        if role is None:
            raise await refused(caller, self.action, object, forbidden(self.roles), "role")
        return AuthorisedRequest(caller, self.action, role, object)

    async def arguments(self, request: AuthorisedRequest) -> dict[str, Any]:
        """Read query and body; raises Problem 408, 413 or 422."""
        found = self._asked(request.http.query_params.multi_items())
        if self.body is None:
            return found
        data = await reading.body(request.http, self.limit, self.seconds)
        if issubclass(self.body, bytes):
            return {**found, "body": data}
        if self.optional and not data.strip():
            return found
        return {**found, **self._given(await reading.document(self.body, data))}

    def _asked(self, pairs: Pairs) -> dict[str, Any]:
        query = reading.query(self.query, pairs)
        return {} if self.query is Nothing else {"query": query}

    def _given(self, body: Given) -> dict[str, Any]:
        return {} if self.body is Nothing else {"body": body}


def endpoint(
    method: str,
    path: str,
    action: Action,
    roles: tuple[Role, ...],
    *,
    status: int = 200,
    conflict: str = "",
    files: Iterable[str] = (),
    ranges: bool = False,
    limit: int = reading.MAX_BODY,
    seconds: float = reading.BODY_SECONDS,
) -> Callable[[Run[P, R]], Endpoint[P, R]]:
    """Declare an endpoint; the decorated function is its handler."""

    def declared(run: Run[P, R]) -> Endpoint[P, R]:
        return Endpoint(run, method, path, action, roles, status, conflict, tuple(files), ranges, limit, seconds)

    return declared


async def refused(caller: Caller, action: Action, object: str, problem: Problem, why: str) -> Problem:
    """Log a refused attempt for the caller's own customer; return the refusal even if logging failed."""
    request = AuthorisedRequest(caller, action, ",".join(caller.principal.roles), object)
    try:
        await request.note(problem.outcome, why)
    except Problem as failed:
        caller.report(failed)
    return problem


@dataclass(frozen=True, slots=True)
class Place:
    """What the path of a request below /api names."""

    customer: str
    """Name of the customer as sent, "" if the path has none."""
    methods: Mapping[str, Endpoint[..., Any]]
    """The endpoints of this path by method; empty if the path does not exist."""
    ids: tuple[str, ...] = ()
    """The ids in the path as sent."""

    def endpoint(self, method: str) -> Endpoint[..., Any] | None:
        """Return the endpoint of this method."""
        return self.methods.get("GET" if method == "HEAD" else method)

    @property
    def object(self) -> str:
        """Return the first id in the path, "" if there is none."""
        return self.ids[0] if self.ids else ""

    @property
    def allowed(self) -> tuple[str, ...]:
        """Methods for the Allow header."""
        found = list(self.methods)
        return tuple([*found, "HEAD"] if "GET" in found else found)


class Router:
    """The paths of all endpoints."""

    def __init__(self, endpoints: Iterable[Endpoint[..., Any]]) -> None:
        """Index the endpoints by path; raises TypeError if a method of a path is declared twice."""
        self._paths: dict[tuple[str | None, ...], dict[str, Endpoint[..., Any]]] = {}
        for each in endpoints:
            segments = (None if part.startswith("{") else part for part in each.path[1:].split("/"))
            methods = self._paths.setdefault(tuple(segments), {})
            if methods.setdefault(each.method, each) is not each:
                raise TypeError(f"declared twice: {each.method} {each.path}")

    def find(self, path: str) -> Place:
        """Find what a path names; a double or trailing slash makes it a different path, which does not exist."""
        if not path.startswith(PREFIX):
            return Place("", {})
        customer, _, rest = path[len(PREFIX) :].partition("/")
        segments = tuple(rest.split("/"))
        places = [at for at in (1, 3) if at < len(segments)]  # ids are the second and fourth segment
        for ids in ([], places[:1], places):
            shape = tuple(None if at in ids and part else part for at, part in enumerate(segments))
            if shape in self._paths:
                return Place(customer, self._paths[shape], tuple(segments[at] for at in ids))
        return Place(customer, {})
