"""Texts of the page in the reader's language, from gettext catalogues by stable ids.

    _ = Translations.chosen(cookie, accept_language)
    _("common.calls")                         "Anrufe"
    _("calls.and-n-more", n=3)                values are put in after translation; `n` chooses the plural form,
                                              numbers are written as the language does: 1.000
    _.code("incident", "sync-failed")         the words of a code, or the code itself if it has none
    _.sentence(problem.detail)                a message (`admin_api.http.messages`), such as a problem's detail

A language is a file, `translations/LANGUAGE.po`; English is one of them. An id without a text in a language is shown in
English. The page is loaded after the recorder is ready, so the catalogues are read as they are and need no compiling.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from babel.core import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from admin_api.http.messages import Message, Value
from admin_api.page.framework import figures

SOURCE = "en"
"""The language of the ids' first texts, for readers whose language is missing."""

_FOLDER = Path(__file__).parents[1] / "translations"


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
        return text.format(**{name: self._figure(value) for name, value in values.items()}) if values else text

    def _figure(self, value: object) -> object:
        """Return a value as it is put into a text: a number as the language writes it."""
        return figures.number(value, self.language) if isinstance(value, int | float) else value

    def code(self, group: str, code: str, /, **values: object) -> str:
        """Return the words of a code, such as a state or a reason; the code itself if the group does not have it."""
        id = f"{group}.{code}"
        text = self(id, **values)
        return code if text == id else text

    def sentence(self, message: Message) -> str:
        """Return a message in this language, or the API's English if the catalogues lack it."""
        values = {name: self._value(value) for name, value in message.values.items()}
        text = self(message.id, **values)
        return str(message) if text == message.id else text

    def _value(self, value: Value) -> str | int:
        if isinstance(value, tuple):
            return ", ".join(str(self._value(each)) for each in value)
        return self.sentence(value) if isinstance(value, Message) else value


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
