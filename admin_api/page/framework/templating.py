"""The templates of the page, and the few filters they need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.runtime import Context
from markupsafe import Markup, escape

from admin_api.http.types import HALVES
from admin_api.page.framework import figures
from admin_api.page.framework.invisible_characters import visible
from admin_api.page.framework.static import shipped
from admin_api.page.framework.translations import languages

_FOLDER = Path(__file__).parents[1] / "templates"
_FIELD = re.compile(r"""( value=["']|<textarea[^>]*>)\{\{ ((?:(?!\}\}).)+) \}\}(["']|</textarea>)""")


class Templates:
    """Jinja templates with autoescaping; an unknown variable is an error."""

    def __init__(self) -> None:
        self._made = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_seen,
            extensions=[AsSent],
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._made.filters.update(FILTERS)
        self._made.globals["static"] = shipped().address
        self._made.globals["languages"] = languages()

    def page(self, template: str, values: Mapping[str, Any]) -> str:
        """Return a whole page."""
        return _whole(self._made.get_template(template).render(values))

    def part(self, template: str, block: str, values: Mapping[str, Any]) -> str:
        """Return one block of a page."""
        found = self._made.get_template(template)
        return _whole("".join(found.blocks[block](found.new_context(dict(values)))))


class AsSent(Extension):
    """A Jinja extension that keeps values in form fields as they are: they are sent back and must not change."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Mark the values of form fields in a template."""
        return _FIELD.sub(lambda found: f"{found[1]}{{{{ ({found[2]}) | as_sent }}}}{found[3]}", source)


def _whole(text: str) -> str:
    """Replace lone surrogates, which names from outside may hold and UTF-8 cannot encode."""
    return HALVES.sub("\ufffd", text)


def _seen(value: Any) -> Any:
    """Return a template value with every invisible character replaced by its number."""
    return visible(value) if type(value) is str else value


def as_sent(value: Any) -> Markup:
    """Return a value as it is, escaped."""
    return escape(value)


def moment(text: str | None) -> str:
    """Format an RFC 3339 time to the second in UTC; scripts convert <time> to the reader's zone."""
    if not text:
        return "–"
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")


def length(milliseconds: int | None) -> str:
    """Format a duration as minutes and seconds, from one hour on with hours."""
    if milliseconds is None:
        return "–"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@jinja2.pass_context
def number(context: Context, value: float, exact: bool = False) -> str:
    """Format a number as the reader's language writes it."""
    return figures.number(value, context["language"], exact=exact)


@jinja2.pass_context
def size(context: Context, count: int | None) -> str:
    """Format a number of bytes as the reader's language writes it."""
    return figures.size(count, context["language"])


FILTERS = {"as_sent": as_sent, "moment": moment, "length": length, "number": number, "size": size}
