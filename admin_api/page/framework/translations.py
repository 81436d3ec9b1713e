"""Texts of the page in the reader's language: English in templates and views, German in the catalogues.

    words = Words.chosen(cookie, accept_language)
    words("Calls")                          "Anrufe"
    words("{count} calls", count=3)         values are put in after translation
    words.many("{n} call", "{n} calls", 3)  one text for one, another for more
    words.told("3 calls are held.")         a sentence of the API with its values filled in

A catalogue is a TOML file in `translations/`, one for each part of the page, keyed by the English text. A text missing
from the catalogue stays English; a test finds it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "de")
"""Languages; the source texts are in the first."""

_PLACE = re.compile(r"\{([a-z_]+)\}")
_FOLDER = Path(__file__).parents[1] / "translations"


class Translations:
    """Texts of the page in one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else LANGUAGES[0]
        self._known = catalogue(self.language)

    @classmethod
    def chosen(cls, cookie: str, accepted: str) -> Translations:
        """Return the language chosen on the page, else the browser's preference (RFC 9110 section 12.5.4)."""
        if cookie in LANGUAGES:
            return cls(cookie)
        return cls(next((name for name in preferred(accepted) if name in LANGUAGES), LANGUAGES[0]))

    def __call__(self, text: str, /, **values: object) -> str:
        """Return a text in this language."""
        said = self._known.get(text, text)
        return said.format(**values) if values else said

    def many(self, one: str, more: str, n: int) -> str:
        """Return the singular or plural text, with the number as {n}."""
        return self(one if n == 1 else more, n=n)

    def sentence(self, text: str) -> str:
        """Return a sentence of a problem document in this language: "At most {n} bytes are accepted." fits any n."""
        if text in self._known or not self._known:
            return self(text)
        for shape, said in shapes(self.language):
            if found := shape.fullmatch(text):
                return said.format(**{name: self.sentence(value) for name, value in found.groupdict().items()})
        return text


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return all texts of a language; empty for the source language."""
    found: dict[str, str] = {}
    for path in sorted(_FOLDER.glob(f"*.{language}.toml")):
        found.update(tomllib.loads(path.read_text("utf-8")))
    return found


@cache
def shapes(language: str) -> Sequence[tuple[re.Pattern[str], str]]:
    """Return the texts with placeholders as patterns that find the values; the most specific first."""
    known = catalogue(language)
    listed = sorted((text for text in known if _PLACE.search(text)), key=lambda text: -len(_PLACE.sub("", text)))
    return [(_shape(text), known[text]) for text in listed]


def _shape(text: str) -> re.Pattern[str]:
    parts = _PLACE.split(text)  # plain text and placeholder names alternate
    return re.compile("".join(re.escape(part) if n % 2 == 0 else f"(?P<{part}>.+)" for n, part in enumerate(parts)))


def preferred(accepted: str) -> list[str]:
    """Return the languages of an Accept-Language header without their regions, most wanted first."""
    wanted = []
    for number, entry in enumerate(accepted[:200].split(",")):
        name, _, rest = entry.partition(";")
        weight = rest.strip().removeprefix("q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if quality > 0:
            wanted.append((-quality, number, name.strip().partition("-")[0].lower()))
    return [name for _, _, name in sorted(wanted)]
