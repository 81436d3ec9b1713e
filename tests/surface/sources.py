"""What the sources of the five packages declare: log events, problem types, metrics, defaults of settings.

The scan covers every `*.py` of the packages and looks at the shape of a call and its literals, not at the name of the
file, class or function, so that moving and renaming code does not change what is found.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("recorder", "sip", "media", "storage", "admin_api")
LEVELS = ("debug", "info", "warning", "error", "critical")
RAISED = "(exception)"
"""Stands among an event's fields for those that describe an exception: error, errno, cause, raised_at."""

VARIABLE = "(an event in a variable)"
UNSEEN = frozenset(
    "destructor.failed library.log library.warning log.suppressed log.unnamed loop.failed print.stderr print.stdout "
    "process.crashed retention.brake retention.sweep thread.failed".split()
)
"""Events that are not the first argument of a call of the log."""

_EVENT = re.compile(r"[a-z*][a-z0-9_*]*(\.[a-z*][a-z0-9_*]*)+")
_CODE = re.compile(r"[a-z]+(-[a-z]+)*")
_METRIC = re.compile(r"recorder_[a-z_]+")


@cache
def trees() -> tuple[ast.Module, ...]:
    """Parse every source file of the packages."""
    files = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return tuple(ast.parse(path.read_bytes()) for path in files)


@cache
def calls() -> tuple[ast.Call, ...]:
    """Every call expression in them."""
    return tuple(node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Call))


@cache
def texts() -> frozenset[str]:
    """Every string literal in them."""
    return frozenset(
        node.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def log_events(known: Collection[str]) -> dict[str, list[str]]:
    """Return each log event with its calls, every one as "level: field field …".

    A call is one of the log if its method is named after a level, or if it carries an event that is `known`: so a
    method may be renamed, but a new event is found by the level alone. Strings that are put together have `*` for what
    varies. The few events that reach the log through a variable are known by their literal alone.
    """
    found: dict[str, set[str]] = {}
    for call in calls():
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        for place, argument in enumerate(call.args[:2]):
            for text in _texts(argument):
                leveled = place == 0 and (name in LEVELS or name == "fault")
                if _EVENT.fullmatch(text) and (leveled or text in known or text in UNSEEN):
                    found.setdefault(text, set()).add(_line(name, call, place))
            named = bool(call.keywords) and all(word.arg for word in call.keywords)
            if name in LEVELS and not place and isinstance(argument, ast.Name) and named:
                found.setdefault(VARIABLE, set()).add(_line(name, call, 0))
    for text in {*known, *UNSEEN} - set(found):
        if text in texts():
            found[text] = set()
    return {event: sorted(line for line in lines if line) for event, lines in sorted(found.items())}


def _line(name: str, call: ast.Call, place: int) -> str:
    """Describe one call of the log."""
    if place or not (isinstance(call.func, ast.Attribute)):
        return ""  # inside the log's own machinery
    raised = len(call.args) > 1 or any(word.arg == "exc_info" for word in call.keywords)
    fields = sorted(str(word.arg) for word in call.keywords if word.arg != "exc_info")
    return " ".join([f"{name if name in LEVELS else 'error'}:", *fields, *[RAISED] * raised])


def _texts(node: ast.expr) -> Iterator[str]:
    """Yield the strings that an argument may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)


def problems() -> dict[str, list[int]]:
    """Return each problem code with its statuses: from calls that begin with a status and a code.

    501 is left out: it answers for parts of the interface that are not there, and all are.
    """
    found: dict[str, set[int]] = {}
    for call in calls():
        match call.args:
            case [ast.Constant(value=int(status)), ast.Constant(value=str(code)), _, *_]:
                if 400 <= status <= 599 and status != 501 and _CODE.fullmatch(code):
                    found.setdefault(code, set()).add(status)
    return {code: sorted(statuses) for code, statuses in sorted(found.items())}


def metrics() -> dict[str, dict[str, Any]]:
    """Return each metric that is declared with its kind (the class of prometheus_client) and its labels."""
    found = {}
    for call in calls():
        match call.args:
            case [ast.Constant(value=str(name)), _, *more] if _METRIC.fullmatch(name):
                kind = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                named = [word.value for word in call.keywords if word.arg == "labelnames"]
                labels = [ast.literal_eval(each) for each in [*more[:1], *named]]
                found[name] = {"kind": kind.lower(), "labels": sorted(labels[0]) if labels else []}
    return dict(sorted(found.items()))


def setting_defaults() -> list[str]:
    """Return "field = default" for every documented field of the settings whose default is a literal.

    Such a field is an annotated name in a class whose value is a call of (reader, default, documentation). A default
    that is no literal shows in the example configuration.
    """
    found = set()
    for tree in trees():
        for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for item in kind.body:
                match item:
                    case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(args=[_, default, doc])):
                        if isinstance(doc, ast.Constant) and isinstance(doc.value, str):
                            found.add(f"{name} = {_default(default)}")
    return sorted(found)


def _default(node: ast.expr) -> str:
    try:
        return repr(ast.literal_eval(node))
    except ValueError:
        if isinstance(node, ast.Call) and len(node.args) == 1:  # such as Path("/etc/recorder")
            return _default(node.args[0])
        return "(see the example)"
