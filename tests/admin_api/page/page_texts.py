"""Everything that the page says: texts of templates and views, and messages of the API and the daemon."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import admin_api
from admin_api.assembly import page_routes
from admin_api.assembly.endpoints import endpoints
from admin_api.http.authorised_request import DONE
from admin_api.http.problems import FAILED, REFUSED
from admin_api.http.reading import members
from admin_api.page.sign_in import account
from admin_api.page.views import audit, call_summary, calls, export_new, user_edit, users
from storage.access.api_tokens import ROLES
from storage.attachments.attachments import KINDS
from storage.directory.user import UserState
from storage.exports.columns import COLUMNS
from storage.exports.exports import ExportState
from storage.retention.rules import RuleFault
from storage.subject_requests.claims import Why

PACKAGE = Path(admin_api.__file__).parent
PAGE = PACKAGE / "page"
ACCESS = PACKAGE.parent / "recorder" / "access"
SOURCES = ("admin_api", "recorder", "storage")
"""Packages that may hold messages and notes."""

"""Functions whose argument at this place stands in the audit log beside an act."""


def templates() -> Iterator[tuple[str, str]]:
    """Give the ids of the texts of templates, with where they stand; a group of codes ends in a dot."""
    for path in sorted((PAGE / "templates").rglob("*.html")):
        for code, id in re.findall(r"""\b_(\.code)?\(\s*["']([^"']+)["']""", path.read_text("utf-8")):
            yield f"{id}." if code else id, path.name


def fields() -> set[str]:
    """Return the names of fields that forms have and endpoints check, so that an error may name them."""
    asked = [kind for each in endpoints() for kind in (each.query, each.body) if kind not in (None, bytes)]
    checked = {name for kind in asked for name in members(kind)}
    sent = (path.read_text("utf-8") for path in (PAGE / "templates").rglob("*.html"))
    named = {name for text in sent for name in re.findall(r'\bname="(\w+)"', text)}
    return (checked & named) - {"wins", "default_days"}  # the form of the rules has names of its own


def codes() -> Iterator[str]:
    """Give the ids of the texts of codes that views show."""
    for group, found in {
        "menu": [view.menu for view in page_routes.VIEWS if view.menu],
        "action": audit.ACTIONS,
        "field": [*fields(), *user_edit.SINGLE, "cursor"],
        "outcome": [DONE, REFUSED, FAILED],
        "note.of": audit.LABELS,
        "role": [*ROLES, "system"],
        "party": ["caller", "callee", "answered", "redirected_by", "redirected_to", "participant"],
        "call-state": calls.STATES,
        "direction": calls.DIRECTIONS,
        "account-state": ["active", "invited", "disabled"],
        "user-state": UserState,
        "export-state": ExportState,
        "quality": [word for *_, word in call_summary.GRADES],
        "mark": ["paused", "missing", "video", "hold"],
        "gap": ["present", "sound", "pause", "loss", "late", "no media", "decrypt failure", "restart", "disk"],
        "media": ["audio", "video", "text", "application"],
        "attachment": KINDS,
        "identity": [*users.IDENTITIES, "first_name", "last_name", "account_name"],
        "directory": ["entra", "csv", "api"],
        "column-group": [group for _, group in export_new.GROUPS],
        "column": COLUMNS,
        "why": [each.name.lower() for each in Why],
        "rule-fault": [each.name.lower() for each in RuleFault],
        "changed": account.CHANGED,
        "plot": ["calls", "own-calls", "free", "busy"],
    }.items():
        yield from (f"{group}.{code}" for code in found)


@cache
def messages() -> list[tuple[str, str, str]]:
    """Return the id, the English and the place of every message in the code; a group of ids ends in a dot.

    Ids and English are literals, so that none escapes this; `_is_copy` knows the places that copy a message.
    """
    found = []
    for path in sorted(each for part in SOURCES for each in (PACKAGE.parent / part).rglob("*.py")):
        for call in _calls(path):
            if getattr(call.func, "id", "") == "Message" and not _is_copy(call.args[0]):
                id, _, _ = _text(call.args[0]).partition("{")
                found.append((id, _text(call.args[1]), f"{path.name}:{call.lineno}"))
    return found


def _is_copy(id: ast.expr) -> bool:
    return ast.unparse(id) in ("self.id", "said['id']")


def troubles() -> Iterator[tuple[str, str]]:
    """Give the codes with which signing in and changes of an account are refused, with where they are raised."""
    for path in sorted([*(PAGE / "sign_in").rglob("*.py"), *ACCESS.rglob("*.py")]):
        module = import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for code in re.findall(r'(?:\btrouble=|\bDeclined\(|_sorry\(request, )("[a-z-]+"|[A-Z_]+\b)', path.read_text()):
            yield f"trouble.{getattr(module, code) if code.isupper() else code[1:-1]}", path.name


def _calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))


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
