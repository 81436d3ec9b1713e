"""The OpenAPI 3.1 description, built from the declarations of the endpoints; `examples.json` has examples by type."""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec
from msgspec import Meta, UnsetType
from starlette.responses import Response

from admin_api.assembly.endpoints import endpoints
from admin_api.calls.call_views import ALWAYS, UNDESCRIBED
from admin_api.http.endpoint import PREFIX, Endpoint
from admin_api.http.problems import MEDIA_TYPE
from admin_api.http.types import Given, Listed, Moment, Nothing, Problem
from admin_api.operations.audit import AuditEntry
from storage.calls.call_document import PartyOf, Stream, Text

TITLE = "SIPREC recorder"
VERSION = "1"
DESCRIPTION = """\
Calls of one customer lie below `/api/v1/customers/{customer}`. Every request there needs `Authorization: Bearer TOKEN`
(`recorder token create`). With a valid token every path of another customer answers 404 exactly like a customer that
does not exist. Everything that is shown, done or refused is written to the audit log first. Times are RFC 3339 in UTC.
Lists are `{"items": [...], "next_cursor": null | "..."}`: pass `next_cursor` as `cursor` for the next page."""
CALL_ID = "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11"

_STATUSES: Mapping[str, str] = {
    "401": "No token, or one that is not valid",
    "403": "The roles of the token do not allow it",
    "404": "Unknown, of another customer, or erased",
    "422": "Parameters or body are not valid",
    "429": "Too many requests; wait for the time in Retry-After",
    "503": "Not possible now; nothing was shown or done",
}
_UPLOAD = "AttachmentRequest"
"""Name of the one body that is a file."""
_ALSO_NAMED = (PartyOf, Stream, AuditEntry, Problem)
"""Types that are named although no endpoint takes or returns them by themselves."""
_PLAIN = {str: "string", Text: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


@functools.cache
def text() -> bytes:
    """Return the description as JSON."""
    return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()


def document() -> dict[str, Any]:
    """Build the description."""
    described = Document(endpoints())
    paths: dict[str, dict[str, Any]] = {}
    for each in described.endpoints:
        paths.setdefault(f"{PREFIX}{{customer}}{each.path}", {})[each.method.lower()] = described.operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": DESCRIPTION},
        "security": [{"bearer": []}],
        "paths": {**paths, **described.node()},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": described.components(),
        },
    }


class Document:
    """The descriptions of the endpoints, and the schemas that they refer to."""

    def __init__(self, described: Iterable[Endpoint[..., Any]]) -> None:
        self.endpoints = tuple(described)
        self._examples: Mapping[str, Any] = json.loads(Path(__file__).with_name("examples.json").read_text("utf-8"))
        shown = [shape for each in self.endpoints if (shape := answer(each)) is not None]
        items = [get_args(shape)[0] for shape in shown if get_origin(shape) is Listed]
        bodies = [each.body for each in self.endpoints if each.body not in (None, Nothing, bytes)]
        self._named = {name(shape): shape for shape in [*_ALSO_NAMED, *shown, *items, *bodies]}

    def components(self) -> dict[str, Any]:
        """Return the named schemas."""
        found = {called: self._object(shape) for called, shape in self._named.items()}
        return {**found, _UPLOAD: {"description": "Any JSON document."}}

    def operation(self, endpoint: Endpoint[..., Any]) -> dict[str, Any]:
        """Describe one method of one path."""
        shown: dict[str, Any] = {
            "operationId": endpoint.action.name.lower(),
            "summary": summary(endpoint),
            "description": f"Roles: {', '.join(endpoint.roles)}.",
            "parameters": [*_in_path(endpoint), *self._in_query(endpoint.query)],
            "responses": self._responses(endpoint),
        }
        return shown if endpoint.body is None else {**shown, "requestBody": self._body(endpoint)}

    def node(self) -> dict[str, Any]:
        """Describe the paths outside customers, which need no token."""
        status = {"schema": {"type": "object", "properties": {"status": {"type": "string"}}}}
        away = {
            "type": "integer",
            "description": "Number of customers who cannot be served now; calls are refused only without their keys",
        }
        ready = {"schema": {"type": "object", "properties": {"status": {"type": "string"}, "customers_away": away}}}
        metrics = {"text/plain": {"schema": {"type": "string"}}}

        def get(id: str, told: str, content: Mapping[str, Any], **more: Any) -> dict[str, Any]:
            answers = {"200": {"description": "Done", "content": content}, **more}
            return {"get": {"operationId": id, "summary": told, "security": [], "responses": answers}}

        refused = {"503": self._problem("No calls are accepted; the body says why")}
        return {
            "/healthz": get("alive", "The process runs", {"application/json": status}),
            "/readyz": get("ready", "Calls are accepted", {"application/json": ready}, **refused),
            "/metrics": get("metrics", "Metrics for Prometheus", metrics),
        }

    def _responses(self, endpoint: Endpoint[..., Any]) -> dict[str, Any]:
        found = {status: self._problem(why) for status, why in _STATUSES.items()}
        if endpoint.conflict:
            found["409"] = self._problem(endpoint.conflict)
        if endpoint.body is not None:
            found["413"] = self._problem("The body is too large")
        content: dict[str, Any] = {"content": {kind: {} for kind in endpoint.files}}
        if endpoint.ranges:
            found |= {
                "206": {"description": "The range that was asked for", **content},
                "304": {"description": "The file matches If-None-Match"},
                "412": self._problem("The file does not match If-Match"),
                "416": self._problem("The range lies outside the file"),
            }
        if endpoint.files:
            return {"200": {"description": "The file", **content}, **found}
        shape = answer(endpoint)
        if shape is None:
            return {str(HTTPStatus.NO_CONTENT.value): {"description": "Done"}, **found}
        content = {"application/json": self._content(name(shape))}
        return {str(endpoint.status): {"description": "Done", "content": content}, **found}

    def _body(self, endpoint: Endpoint[..., Any]) -> dict[str, Any]:
        if endpoint.body is Nothing:
            empty = {"schema": {"type": "object", "additionalProperties": False}, "example": {}}
            return {"required": False, "content": {"application/json": empty}}
        if endpoint.body is bytes:
            captions = {"schema": {"type": "string", "pattern": "^WEBVTT"}, "example": "WEBVTT\n"}
            return {"required": True, "content": {"application/json": self._content(_UPLOAD), "text/vtt": captions}}
        content = self._content(name(endpoint.body))
        return {"required": not endpoint.optional, "content": {"application/json": content}}

    def _content(self, called: str) -> dict[str, Any]:
        item = called.removesuffix("Page")
        found = self._examples.get(called) or {"items": [self._examples[item]], "next_cursor": None}
        return {"schema": {"$ref": f"#/components/schemas/{called}"}, "example": found}

    def _problem(self, why: str) -> dict[str, Any]:
        return {"description": why, "content": {MEDIA_TYPE: self._content("Problem")}}

    def _in_query(self, kind: type[Given]) -> Iterable[dict[str, Any]]:
        hints = get_type_hints(kind, include_extras=True)
        for called in kind.__struct_fields__:
            hint = get_args(hints[called])[0] if _is_union(hints[called]) else hints[called]  # null is never sent
            schema = self._member(hint)
            yield {
                "name": called,
                "in": "query",
                "description": schema.pop("description"),
                "schema": {"type": "string", **schema},
                "example": next(meta.examples[0] for meta in hint.__metadata__ if meta.examples),
            }

    def schema(self, hint: Any) -> dict[str, Any]:
        """Return the JSON schema of a declared type."""
        if get_origin(hint) in (Required, NotRequired):
            return self.schema(get_args(hint)[0])
        if get_origin(hint) is Annotated:
            return self._annotated(hint)
        if _is_union(hint):
            return self._union(get_args(hint))
        if get_origin(hint) is Literal:
            return {"const": get_args(hint)[0]} if len(get_args(hint)) == 1 else {"enum": list(get_args(hint))}
        if get_origin(hint) is list:
            inner = self.schema(get_args(hint)[0])
            return {"type": "array", "items": inner} if inner else {"type": "array"}
        if is_typeddict(get_origin(hint)):  # a generic type of personal values, which are text in an answer
            hint = get_origin(hint)
        if hint in self._named.values():
            return {"$ref": f"#/components/schemas/{name(hint)}"}
        if hint in _PLAIN:
            return {"type": _PLAIN[hint]}
        if hint is Moment:
            return {"type": "string", "format": "date-time"}
        if hint is Any or get_origin(hint) is dict:
            return {} if hint is Any else {"type": "object"}
        return {"enum": list(hint)} if hasattr(hint, "__members__") else self._object(hint)

    def _object(self, shape: Any) -> dict[str, Any]:
        """Describe an object: a body admits declared members only, an answer may have more in later versions."""
        if not is_typeddict(get_origin(shape) or shape):
            fields = msgspec.structs.fields(shape)
            hints = get_type_hints(shape, include_extras=True)
            found = {
                "type": "object",
                "properties": {each.encode_name: self._member(hints[each.name]) for each in fields},
                "required": [each.encode_name for each in fields if each.required],
                "additionalProperties": False,
                **shape.schema,
            }
            return {key: value for key, value in found.items() if value is not None}
        bare = get_origin(shape) or shape
        hints = get_type_hints(bare, include_extras=True)
        if bare is Listed:
            hints["items"] = list[get_args(shape)[0]]  # type: ignore[misc]  # the type is known when this runs
        hints = {called: hint for called, hint in hints.items() if called not in UNDESCRIBED.get(bare, ())}
        always = ALWAYS.get(bare, ())
        return {
            "type": "object",
            "properties": {called: self.schema(hint) for called, hint in hints.items()},
            "required": [n for n, hint in hints.items() if n in always or _required(hint, total=bare.__total__)],
        }

    def _member(self, hint: Any) -> dict[str, Any]:
        """Describe a parameter or a member of a body; the declaration of what is right completes "must be"."""
        found = self.schema(hint)
        right = found.pop("description", "")
        return {**found, "description": f"Must be {right}."} if right else found

    def _annotated(self, hint: Any) -> dict[str, Any]:
        found = self.schema(hint.__origin__)
        for meta in hint.__metadata__:
            if isinstance(meta, Meta):
                found = _with(found, meta)
        return found

    def _union(self, parts: tuple[Any, ...]) -> dict[str, Any]:
        """Describe a union; null is added as a second type, as one more value of an enum, or as one more choice."""
        kinds = [self.schema(each) for each in parts if each not in (UnsetType, type(None))]
        null = [{"type": "null"}] if type(None) in parts else []
        first = kinds[0]
        if len(kinds) + len(null) == 1:
            return first
        if len(kinds) > 1 or "$ref" in first or "properties" in first:
            return {"anyOf": [*kinds, *null]}
        if "enum" in first:
            return {**first, "enum": [*first["enum"], None]}
        return {**first, "type": [first["type"], "null"]}


def answer(endpoint: Endpoint[..., Any]) -> Any:
    """Return the type of a JSON answer, None if there is none."""
    hint = endpoint.answer
    if get_origin(hint) is Annotated:  # a response that holds it
        return hint.__metadata__[0]
    return None if hint in (Response, type(None)) else hint


def name(shape: Any) -> str:
    """Return the name of a schema."""
    if get_origin(shape) is Listed:
        return f"{get_args(shape)[0].__name__}Page"
    return str(shape.__name__).removesuffix("Of")


def summary(endpoint: Endpoint[..., Any]) -> str:
    """Return the first paragraph of a handler's description, without its full stop."""
    first = (endpoint.run.__doc__ or "").partition("\n\n")[0]
    return " ".join(first.split()).removesuffix(".")


def _required(hint: Any, *, total: bool) -> bool:
    """Return whether a member of an answer is always there; `__required_keys__` is wrong for deferred annotations."""
    return get_origin(hint) is Required or (total and get_origin(hint) is not NotRequired)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _with(schema: Mapping[str, Any], meta: Meta) -> dict[str, Any]:
    """Add a type's declared properties; `extra_json_schema` replaces a union if it names types or values."""
    found, more = dict(schema), dict(meta.extra_json_schema or {})
    several = found.get("type") == "array"
    limits = {
        "minItems" if several else "minLength": meta.min_length,
        "maxItems" if several else "maxLength": meta.max_length,
        "minimum": meta.ge,
        "maximum": meta.le,
        "pattern": meta.pattern and meta.pattern.replace(r"\Z", "$"),  # ECMAScript has no \Z, and its $ means the same
        "description": meta.description,
    }
    found |= {key: value for key, value in limits.items() if value is not None}
    if "enum" in more:
        return {**({"description": meta.description} if meta.description else {}), **more}
    if "type" in more and "anyOf" in found:
        parts = found.pop("anyOf")
        found = {**{key: value for part in parts for key, value in part.items()}, **found}
        if not found.get("required", True):
            del found["required"]
    return {**found, **more}


def _in_path(endpoint: Endpoint[..., Any]) -> list[dict[str, Any]]:
    examples = {"customer": "acme"} | dict.fromkeys(endpoint.names, CALL_ID)
    return [
        {"name": each, "in": "path", "required": True, "schema": {"type": "string"}, "example": example}
        for each, example in examples.items()
    ]
