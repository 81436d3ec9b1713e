"""Everything that the page says: texts of templates, of views, and of the API's problem documents."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import jinja2
from jinja2 import nodes

import admin_api
from admin_api.assembly import page_routes
from admin_api.assembly.endpoints import endpoints
from admin_api.http import reading
from admin_api.page.views import action_labels

PACKAGE = Path(admin_api.__file__).parent
PAGE = PACKAGE / "page"
TELLING = {"conflict": 0, "unavailable": 0, "CannotRender": 0}
"""Functions whose argument at this place is told to people."""

NOTING = {"note": 1, "of": 5, "refused": 4, "not_found": 0, "conflict": 1, "unavailable": 1}
"""Functions whose argument at this place stands in the audit log beside an act."""


def templates() -> Iterator[tuple[str, str]]:
    """Give texts of templates with where they stand."""
    parser = jinja2.Environment()  # noqa: S701 - nothing is rendered
    for path in sorted((PAGE / "templates").rglob("*.html")):
        for call in parser.parse(path.read_text("utf-8")).find_all(nodes.Call):
            for text in _said(call):
                yield text, f"{path.name}:{call.lineno}"


def _said(call: nodes.Call) -> Iterator[str]:
    said = call.node
    many = isinstance(said, nodes.Getattr) and said.attr == "many"
    if many or (isinstance(said, nodes.Name) and said.name == "_"):
        for argument in call.args[: 2 if many else 1]:
            if isinstance(argument, nodes.Const) and isinstance(argument.value, str):
                yield argument.value


def views() -> Iterator[tuple[str, str]]:
    """Give texts of views: the menu, what is said by `words(…)`, and the words of codes."""
    for view in page_routes.VIEWS:
        if view.menu:
            yield view.menu, view.path
    for name in ("ACTS", "OUTCOMES", "NOTES", "REASONS", "INCIDENTS"):
        for code, said in getattr(action_labels, name).items():
            yield said, f"acts.{name}[{code}]"
    for said in action_labels.COUNTS:
        yield said, "acts.COUNTS"
    for path in sorted(PAGE.rglob("*.py")):
        for call in _calls(path):
            function = call.func
            if isinstance(function, ast.Attribute) and function.attr in ("words", "many") and call.args:
                for argument in call.args[: 2 if function.attr == "many" else 1]:
                    if text := _text(argument):
                        yield text, f"{path.name}:{call.lineno}"


def problems() -> Iterator[tuple[str, str]]:
    """Give titles, details and reasons of problem documents; what is put in stands as {name}."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for call in _calls(path):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            places = (2, 3) if name == "Problem" else (TELLING[name],) if name in TELLING else ()
            for place in places:
                for text in _texts(call.args[place]) if len(call.args) > place else ():
                    yield text, f"{path.name}:{call.lineno}"
        for fault in _faults(path):
            for text in _texts(fault.elts[1]):
                yield text, f"{path.name}:{fault.lineno}"
    for each in endpoints():
        for kind in {each.query, each.body} - {None, bytes}:
            for name, member in reading.members(kind).items():
                yield member.reason, f"{kind.__name__}.{name}"


def _faults(path: Path) -> Iterator[ast.Tuple]:
    """Give the pairs of a name and a reason that a check yields, or that are refused at once."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
            yield node.value
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "invalid"
            and isinstance(node.args[0], ast.List)
        ):
            yield from node.args[0].elts


def notes() -> Iterator[tuple[str, str]]:
    """Give what the audit log is told beside an act, as far as it is known; what is put in stands as {name}."""
    root = PACKAGE.parent
    for path in sorted(each for part in ("admin_api", "recorder", "storage") for each in (root / part).rglob("*.py")):
        for call in _calls(path):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            place = NOTING.get(name, 99)
            if len(call.args) > place and not (name == "note" and isinstance(call.func, ast.Name)):
                for text in _texts(call.args[place]):
                    yield text, f"{path.name}:{call.lineno}"


def _calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))


def _texts(node: ast.expr) -> list[str]:
    """Return what an expression may say: both sides of a choice."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    text = _text(node)
    return [text] if text else []


def _text(node: ast.expr) -> str:
    """Return a text, with {name} where something is put in; "" for what is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = []
    for number, part in enumerate(node.values):
        parts.append(str(part.value) if isinstance(part, ast.Constant) else f"{{v{number}}}")
    return "".join(parts)
