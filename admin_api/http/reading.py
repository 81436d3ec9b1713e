"""Strict reading of queries and bodies into declared types, without coercion and without repeating the input.

json refuses what msgspec does not notice (a name given twice, NaN); msgspec refuses everything else. Its messages
repeat input, so they are never shown: a refusal names the declared members that are wrong and says what is right
(by `types.right`, or else by the type).
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import ClientDisconnect, Request

from admin_api.http.messages import Message
from admin_api.http.problems import Fault, Problem, invalid, too_large, too_slow
from admin_api.http.types import BAD_CURSOR, ONE_OF, Given, Moment

MAX_BODY = 1 << 20  # bytes; an erasure of 20,000 ids has 0.8 MB
BODY_SECONDS = 10.0  # for the whole body
IN_A_THREAD = 64 << 10  # bytes; parsing more would hold up live calls for over a millisecond
MAX_FAULTS = 50  # named in one answer
_WHOLE = re.compile(r"[0-9]{1,15}")
_NO_JSON = Message("reason.json", "must be JSON that names each member once")
_NO_OBJECT = Message("reason.json-object", "must be a JSON object")
_TWICE = Message("reason.once", "must be given once")

G = TypeVar("G", bound=Given)
T = TypeVar("T")


def bad_cursor() -> Problem:
    """Return the answer to a cursor that this server did not issue."""
    return invalid([("cursor", BAD_CURSOR)], "query")


def query(kind: type[G], pairs: Iterable[tuple[str, str]]) -> G:
    """Read a query; raises Problem 422."""
    known = members(kind)
    faults: list[Fault] = []
    given: dict[str, Any] = {}
    for name, text in pairs:
        member = known.get(name)
        if member is None:
            unknown = Message("reason.unknown-parameter", "unknown parameter; the known ones are {names}")
            faults.append(("", unknown.of(names=tuple(known) or "none")))
        elif name in given:
            faults.append((name, _TWICE))
        else:
            given[name] = None
            try:
                given[name] = _converted(member.value(text), member.type)
            except ValueError:
                faults.append((name, member.reason))
    faults += [(name, member.reason) for name, member in known.items() if member.required and name not in given]
    if faults:
        raise invalid(list(dict.fromkeys(faults)), "query")
    made = kind(**{known[name].attribute: value for name, value in given.items()})
    if faults := list(_between(made, "")):
        raise invalid(faults, "query")
    return made


async def body(request: Request, most: int = MAX_BODY, seconds: float = BODY_SECONDS) -> bytes:
    """Read the body of a request; raises Problem 408 or 413."""
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise too_large(most)
    except (TimeoutError, ClientDisconnect):  # the client has gone: no answer reaches it
        raise too_slow() from None
    return bytes(data)


async def document(kind: type[G], data: bytes) -> G:
    """Read a body of any length; raises Problem 422."""
    return await asyncio.to_thread(read, kind, data) if len(data) > IN_A_THREAD else read(kind, data)


def read(kind: type[G], data: bytes) -> G:
    """Read a body; raises Problem 422."""
    try:
        given = parsed(data)
    except ValueError:
        raise invalid([("", _NO_JSON)]) from None
    return checked(kind, given)


def checked(kind: type[G], given: Any) -> G:
    """Read a body that is parsed already, or made from a form; raises Problem 422."""
    if kind.null_is_absent and isinstance(given, dict):
        given = {name: value for name, value in given.items() if value is not None or name not in kind.null_is_absent}
    try:
        made = _converted(given, kind)
    except ValueError:
        raise invalid(list(islice(_within(kind, given, ""), MAX_FAULTS))) from None
    if faults := list(islice(_between(made, ""), MAX_FAULTS)):
        raise invalid(faults)
    return made


def parsed(data: bytes) -> Any:
    """Parse JSON by RFC 8259; raises ValueError.

    Names must be unique (section 4): parsers differ on which duplicate counts, so an erasure could hit the wrong call.
    NaN and Infinity are not numbers (section 6).
    """
    try:
        return json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


def _converted(given: Any, kind: type[T]) -> T:
    """Check a value against its type; raises ValueError, which repeats the value.

    The error is msgspec.ValidationError, unless the value has a lone surrogate: then msgspec cannot make its message.
    """
    return msgspec.convert(given, kind, dec_hook=_special)


def _special(kind: type, value: object) -> object:
    """Read a value of a type that msgspec does not know; raises ValueError."""
    if kind is Moment:
        return Moment.parse(value)
    raise NotImplementedError(kind)


class Member(NamedTuple):
    """A declared member of a query or a body."""

    type: Any
    """Its type with annotations."""
    attribute: str
    """Its name in Python."""
    required: bool
    """Whether it must be given."""
    plain: tuple[Any, ...]
    """The types that it may have, without None."""
    text: Any
    """Reads it from the text of a query."""
    reason: Message
    """What is right, as a sentence without its subject."""

    def value(self, text: str) -> Any:
        """Return the value of a query parameter's text; raises ValueError."""
        if int in self.plain and _WHOLE.fullmatch(text):
            return int(text)
        if bool in self.plain and text in ("true", "false"):
            return text == "true"
        return self.text(text) if self.text else text


@functools.cache
def members(kind: type[Given]) -> Mapping[str, Member]:
    """Return the declared members by their names in JSON."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(kind):
        plain, meta = _parts(hints[field.name])
        extra = {name: value for each in reversed(meta) for name, value in (each.extra or {}).items()}
        null = type(None) in plain
        types_ = tuple(each for each in plain if each not in (type(None), UnsetType))
        found[field.encode_name] = Member(
            field.type,
            field.name,
            field.required,
            types_,
            extra.get("text"),
            extra.get("reason") or _reason(types_, meta, null=null),
        )
    return found


def _parts(hint: Any) -> tuple[tuple[Any, ...], tuple[Meta, ...]]:
    """Return the types of a union, or the one type, and everything declared about them."""
    if get_origin(hint) is Annotated:
        plain, *declared = get_args(hint)
        types_, meta = _parts(plain)
        return types_, (*(each for each in declared if isinstance(each, Meta)), *meta)
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_parts(each) for each in get_args(hint)]
        return tuple(t for types_, _ in parts for t in types_), tuple(m for _, meta in parts for m in meta)
    return (hint,), ()


def _reason(plain: Sequence[Any], meta: Sequence[Meta], *, null: bool) -> Message:
    """Return what is right, judged by the type alone."""
    names = next((each.extra_json_schema.get("enum") for each in meta if each.extra_json_schema), None)
    names = names or list(getattr(plain[0], "__members__", {}).values())
    if names:
        return ONE_OF.of(choices=tuple(names))
    limits = meta[0] if meta else Meta()
    if int in plain and null:
        number = Message("reason.number-or-null", "must be a whole number from {least} to {most}, or null")
        return number.of(least=int(limits.ge or 0), most=int(limits.le or 0))
    if int in plain:
        number = Message("reason.number", "must be a whole number from {least} to {most}")
        return number.of(least=int(limits.ge or 0), most=int(limits.le or 0))
    if bool in plain:
        return Message("reason.yes-or-no", "must be true or false")
    if Moment in plain:
        return Message("reason.time", "must be an RFC 3339 time with its zone")
    if str in plain and limits.max_length is None:
        return Message("reason.any-text", "must be text")
    if str in plain:
        length = Message("reason.text", "must be a text of {least} to {most} characters")
        return length.of(least=limits.min_length or 0, most=limits.max_length or 0)
    return _NO_OBJECT


def _within(kind: type[Given], given: object, where: str) -> Iterator[Fault]:
    """Find all members that are wrong; msgspec stops at the first."""
    if not isinstance(given, dict):
        yield where, _NO_OBJECT
        return
    known = members(kind)
    made: dict[str, Any] = {member.attribute: UNSET for member in known.values() if member.required}
    if set(given) - set(known):
        unknown = Message("reason.unknown-member", "unknown member; the known ones are {names}")
        yield where, unknown.of(names=tuple(known) or "none")
    for name, member in known.items():
        inner = _named(where, name)
        if name not in given:
            if member.required:
                yield inner, member.reason
            continue
        try:
            made[member.attribute] = _converted(given[name], member.type)
        except ValueError:
            made[member.attribute] = UNSET
            yield from list(_inside(member, given[name], inner, kind.entry)) or [(inner, member.reason)]
        else:
            yield from _between(made[member.attribute], inner, kind.entry)
    if kind.checks_the_rest:
        yield from ((_named(where, name), reason) for name, reason in kind(**made).faults())


def _inside(member: Member, value: object, where: str, entry: str) -> Iterator[Fault]:
    """Find what is wrong in an object or a list of objects; nothing if it is neither."""
    for plain in member.plain:
        if isinstance(plain, type) and issubclass(plain, Given):
            yield from _within(plain, value, where)
        item = get_args(plain)[0] if get_origin(plain) is list else None
        if isinstance(value, list) and isinstance(item, type) and issubclass(item, Given):
            for number, each in enumerate(value):
                yield from _within(item, each, where + entry.format(number))


@functools.cache
def _nested(kind: type[Given]) -> Mapping[str, Member]:
    """Return the members that are objects or lists of objects."""

    def nested(plain: Any) -> bool:
        inner = get_args(plain)[0] if get_origin(plain) is list else plain
        return isinstance(inner, type) and issubclass(inner, Given)

    return {name: member for name, member in members(kind).items() if any(map(nested, member.plain))}


def _between(made: object, where: str, entry: str = "") -> Iterator[Fault]:
    """Find contradictions between members, in an object and in the objects within it."""
    if isinstance(made, list):
        for number, each in enumerate(made if isinstance(next(iter(made), None), Given) else ()):
            yield from _between(each, where + entry.format(number))
    if isinstance(made, Given):
        for name, member in _nested(type(made)).items():
            yield from _between(getattr(made, member.attribute), _named(where, name), made.entry)
        yield from ((_named(where, name), reason) for name, reason in made.faults())


def _named(where: str, name: str) -> str:
    return ".".join(part for part in (where, name) if part)
