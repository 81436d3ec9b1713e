"""Everything personal that people can put into a customer through the API, one canary each.

A new kind of thing that is kept gets a line here, and with it every test that searches the disk for what is planted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.daemon.api import WAIVER, Api


@dataclass(frozen=True, slots=True)
class Canary:
    """One place where somebody may write about people."""

    what: str
    """What is written there."""
    method: str
    """How it gets there."""
    path: str
    """Where, {call} and {word} filled in."""
    body: Any
    """What is sent, {word} filled in; a str is sent as it is."""
    role: str = "privacy"
    """Who does it."""
    type: str = "application/json"
    """What the body is."""


PLANTS = (
    Canary("a waiver", "PUT", "/waiver", {**WAIVER, "signed_by": "{word}", "scope": "{word} too"}, "admin"),
    Canary("a correction", "POST", "/calls/{call}/annotations", {"text": "{word} wrote"}),
    Canary("a hold", "PUT", "/calls/{call}/hold", {"reason": "court of {word}"}),
    Canary(
        "a transcript",
        "POST",
        "/calls/{call}/attachments?kind=transcript",
        "WEBVTT\n\n00:00.000 --> 00:01.000\n{word} speaking\n",
        type="text/vtt",
    ),
    Canary("a chat", "POST", "/calls/{call}/attachments?kind=chat", '{"messages": [{"text": "{word}"}]}'),
    Canary(
        "a retention rule",
        "PUT",
        "/retention",
        {"rules": [{"days": 3650, "name": "case {word}", "party": "{word}"}], "default_days": 3650},
        "admin",
    ),
    Canary("a set of columns", "PUT", "/column-sets/{word}", {"columns": ["id", "started_at"]}),
    Canary(
        "a request",
        "POST",
        "/requests",
        {"kind": "access", "identities": ["{word} Person"], "reference": "file {word}", "reason": "says {word}"},
    ),
    Canary("a user", "POST", "/users", {"first_name": "{word}", "email": "{word}@example.org"}),
    Canary("an export", "POST", "/exports", {"calls": ["{call}"], "format": "csv", "reason": "{word}"}),
    Canary("an export of somebody", "POST", "/exports", {"party": "{word}", "format": "json", "reason": "x"}),
    Canary("an erasure", "POST", "/erasures", {"party": "{word}", "reason": "wish of {word}"}),
    Canary("a search", "GET", "/calls?party={word}", None),
    Canary("a search for users", "GET", "/users?q={word}", None),
)


def word(number: int) -> str:
    """Return the canary of a plant."""
    return f"Zw{number:02}kanarienvogel"


def plant(api: Api, call: str) -> dict[str, str]:
    """Put every canary in its place; return them by what they are in."""
    for number, each in enumerate(PLANTS):
        path, body = (_filled(value, call, word(number)) for value in (each.path, each.body))
        sent = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": each.type} if sent else {}
        answer = api.ask(each.method, path, each.role, headers=headers, content=sent)
        assert answer.status_code < 300, (each.what, answer.status_code, answer.text)
    return {each.what: word(number) for number, each in enumerate(PLANTS)}


def _filled(value: Any, call: str, canary: str) -> Any:
    if isinstance(value, str):
        return value.replace("{call}", call).replace("{word}", canary)
    if isinstance(value, dict):
        return {name: _filled(each, call, canary) for name, each in value.items()}
    return [_filled(each, call, canary) for each in value] if isinstance(value, list) else value
