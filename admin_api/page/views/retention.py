"""Retention: the rules, what the next sweep erases, and the form that changes the rules.

New rules can only be applied from their preview: the form carries a digest of the previewed rules, and different rules
are previewed first.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from admin_api.http.permissions import Action
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.framework.translations import Translations
from admin_api.privacy import retention
from admin_api.privacy.retention import RetentionPreview

SHOWN = 100
"""Calls that a preview lists; a first sweep may erase 100,000."""
FIELDS = ("name", "days", "direction", "source", "party")
"""Fields of one rule in the form."""


@view("GET", "/retention", Action.RETENTION, menu="retention")
async def show(request: PageRequest) -> Response:
    """Show the rules in force."""
    return request.page("retention.html", kept=await retention.view(request.caller()))


@view("GET", "/retention/preview", Action.RETENTION_PREVIEW)
async def preview(request: PageRequest) -> Response:
    """Show what the next sweep erases by the rules in force."""
    found = await retention.preview(request.caller())
    return request.page("retention_preview.html", found=await _foreseen(request, found))


@view("GET", "/retention/edit", Action.RETENTION_WRITE)
async def edit(request: PageRequest) -> Response:
    """Show the form with the rules in force."""
    kept = await retention.view(request.caller())
    return _form(request, _texts(kept["rules"]), _days(kept["default_days"]), kept["wins"])


async def _sent(request: PageRequest) -> Response:
    return _form(request, _rules_of(request), request.one("default_days"), request.one("wins"))


@view("POST", "/retention/edit", Action.RETENTION_WRITE, form=_sent)
async def change(request: PageRequest) -> Response | str:
    """Handle the form's button: add a rule, remove one, preview the rules, or apply those that were previewed."""
    rules = _rules_of(request)
    act, _, number = request.one("act").partition("-")
    if act == "add":
        rules.append(dict.fromkeys(FIELDS, ""))
    elif act == "remove" and number in map(str, range(len(rules))):
        del rules[int(number)]
    days, wins = request.one("default_days"), request.one("wins")
    if act not in ("try", "save"):
        return _form(request, rules, days, wins)
    body = {"rules": [_rule(each) for each in rules], "default_days": _whole(days), "wins": wins or None}
    digest = _digest(body)
    if act == "save" and request.one("tried") == digest:
        await retention.put.ask(request.caller(), body=body)
        return "/retention"
    found = await _foreseen(request, await retention.preview.ask(request.caller(), body=body))
    return _form(request, rules, days, wins, {**found, "digest": digest})


def _form(
    request: PageRequest, rules: Sequence[Mapping[str, str]], days: str, wins: str, tried: Mapping[str, Any] = {}
) -> Response:
    return request.page(
        "retention_edit.html",
        rules=rules,
        days=days,
        wins=wins,
        tried=tried,
        named=lambda place: named(request.translations, place),
    )


def named(_: Translations, place: str) -> str:
    """Return the form's name of a field: "Rule 1, Days" and not "rules.0.days"."""
    list_, _dot, rest = place.partition(".")
    number, _dot, member = rest.partition(".")
    if list_ == "rules" and number.isdecimal():
        rule = _("retention.rule-n", n=int(number) + 1)
        return f"{rule}, {_.code('rule', member)}" if member else rule
    return _.code("rule", place)


def _digest(body: Mapping[str, Any]) -> str:
    """Return a digest of rules, to recognise them."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


async def _foreseen(request: PageRequest, found: RetentionPreview) -> dict[str, Any]:
    """Return the template's data for a preview: counts by rule, the first calls, names of rules."""
    due = [*found["items"], *found["asks"]]
    rules = (await retention.view(request.caller()))["rules"]
    names = {rule["id"]: rule["name"] or rule["id"] for rule in rules}
    return {
        **found,
        "due": len(due),
        "by_rule": Counter(each["rule"] for each in due).most_common(),
        "first": due[:SHOWN],
        "names": names,
    }


def _texts(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return rules as form fields."""
    return [{**{name: rule[name] or "" for name in FIELDS}, "days": _days(rule["days"])} for rule in rules]


def _rules_of(request: PageRequest) -> list[dict[str, str]]:
    """Return the rules of a sent form."""
    columns = [request.form.get(name, []) for name in FIELDS]
    return [dict(zip(FIELDS, texts, strict=True)) for texts in zip(*columns, strict=False)]


def _rule(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return a rule for the API; an empty field means any."""
    return {**{name: texts[name].strip() or None for name in FIELDS}, "days": _whole(texts["days"])}


def _days(days: int | None) -> str:
    return "" if days is None else str(days)


def _whole(text: str) -> int | str | None:
    """Return days in the API's form, None for ever; pass on text that is not a number, which the API refuses."""
    text = text.strip()
    return None if not text else int(text) if text.isdecimal() and len(text) < 10 else text
