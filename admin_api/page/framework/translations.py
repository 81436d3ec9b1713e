"""Texts of the page in the reader's language, from gettext catalogues by stable ids.

    _ = Translations.chosen(cookie, accept_language)
    _("common.calls")                         "Anrufe"
    _("calls.and-n-more", n=3)                values are put in after translation; `n` chooses the plural form
    _.code("incident", "sync-failed")         the words of a code, or the code itself if it has none

A language is a file, `translations/LANGUAGE.po`; English is one of them. An id without a text in a language is shown in
English. The page is loaded after the recorder is ready, so the catalogues are read as they are and need no compiling.
"""

from __future__ import annotations

import gettext
import io
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from babel.core import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

SOURCE = "en"
"""The language of the ids' first texts, for readers whose language is missing."""

_FOLDER = Path(__file__).parents[1] / "translations"
_PLACE = re.compile(r"\{([a-z_]+)\}")


class Translations:
    """Texts of the page in one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in languages() else SOURCE
        self._texts = texts(self.language)

    @classmethod
    def chosen(cls, cookie: str, accepted: str) -> Translations:
        """Return the language chosen on the page, else the browser's preference (RFC 9110 section 12.5.4)."""
        if cookie in languages():
            return cls(cookie)
        return cls(next((name for name in preferred(accepted) if name in languages()), SOURCE))

    def __call__(self, id: str, /, **values: object) -> str:
        """Return the text of an id with the values put in."""
        number = values.get("n")
        text = self._texts.ngettext(id, id, number) if isinstance(number, int) else id
        if text == id:
            text = self._texts.gettext(id)
        return text.format(**values) if values else text

    def code(self, group: str, code: str, /, **values: object) -> str:
        """Return the words of a code, such as a state or a reason; the code itself if the group does not have it."""
        id = f"{group}.{code}"
        text = self(id, **values)
        return code if text == id else text

    def sentence(self, text: str) -> str:
        """Return a sentence of a problem document in this language: "At most {n} bytes are accepted." fits any n."""
        if text in english():
            return self(english()[text])
        known = problems(self.language)
        if text in known:
            return known[text]
        for shape, translated in shapes(self.language):
            if found := shape.fullmatch(text):
                return translated.format(**{name: self.sentence(value) for name, value in found.groupdict().items()})
        return text


@cache
def languages() -> Mapping[str, str]:
    """Return the languages that have a catalogue, with their own names."""
    return {path.stem: str(Locale.parse(path.stem).display_name) for path in sorted(_FOLDER.glob("*.po"))}


@cache
def catalogue(language: str) -> Catalog:
    """Return the catalogue of a language as it is in its file."""
    with (_FOLDER / f"{language}.po").open("rb") as file:
        return read_po(file, language, abort_invalid=True)


@cache
def texts(language: str) -> gettext.NullTranslations:
    """Return the texts of a language, and English for those that it lacks."""
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    found = gettext.GNUTranslations(compiled)
    if language != SOURCE:
        found.add_fallback(texts(SOURCE))
    return found


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


# Texts of the API's problem documents, by the English sentence.


@cache
def english() -> Mapping[str, str]:
    """Return the ids of the English texts that have one form."""
    return {str(each.string): each.id for each in catalogue(SOURCE) if isinstance(each.id, str) and each.id}


@cache
def problems(language: str) -> Mapping[str, str]:
    """Return the sentences of problem documents."""
    path = _FOLDER / f"api.{language}.toml"
    return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}


@cache
def shapes(language: str) -> Sequence[tuple[re.Pattern[str], str]]:
    """Return the sentences with placeholders as patterns that find the values; the most specific first."""
    known = problems(language)
    listed = sorted((text for text in known if _PLACE.search(text)), key=lambda text: -len(_PLACE.sub("", text)))
    return [(_shape(text), known[text]) for text in listed]


def _shape(text: str) -> re.Pattern[str]:
    parts = _PLACE.split(text)  # plain text and placeholder names alternate
    return re.compile("".join(re.escape(part) if n % 2 == 0 else f"(?P<{part}>.+)" for n, part in enumerate(parts)))
