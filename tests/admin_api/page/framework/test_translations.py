"""The page speaks English and German: nothing is left out, and values arrive in the sentence that they belong to."""

from __future__ import annotations

import re
import string

import pytest

from admin_api.page.framework.translations import Translations, catalogue, preferred, shapes
from tests.admin_api.page import page_texts

GERMAN = Translations("de")
PLACE = re.compile(r"\{\w+\}")


@pytest.mark.parametrize("said", [page_texts.templates, page_texts.views], ids=["templates", "views"])
def test_everything_that_the_page_says_has_german(said):
    known = catalogue("de")
    assert [f"{where}: {text}" for text, where in said() if text not in known] == []


def test_everything_that_the_api_says_has_german():
    missing = []
    for text, where in page_texts.problems():
        example = PLACE.sub("7", text)
        if example not in catalogue("de") and not any(shape.fullmatch(example) for shape, _ in shapes("de")):
            missing.append(f"{where}: {text}")
    assert missing == []


def test_the_collector_finds_every_kind_of_text():
    texts = {text for said in (page_texts.templates, page_texts.views, page_texts.problems) for text, _ in said()}
    for text in ("Sign out", "{n} calls", "Retention", "Nothing was found here", "Looked at a call"):
        assert text in texts


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_translation_has_the_places_of_its_text(language):
    def places(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert [text for text, said in catalogue(language).items() if not places(said) <= places(text)] == []


def test_a_page_shows_no_methods_or_paths_of_the_api():
    english, technical = Translations("en"), re.compile(r"\b(GET|PUT|POST|DELETE) |/openapi|null\b")
    sentence = {english.sentence(PLACE.sub("7", text)) for text, _ in page_texts.problems()}
    assert [text for text in sentence if technical.search(text)] == []


def test_values_are_put_in_after_translation():
    assert Translations("en")("{n} calls", n=3) == "3 calls"
    assert GERMAN("{n} calls", n=3) == "3 Anrufe"
    assert GERMAN("Nobody translated this") == "Nobody translated this"


def test_one_is_said_otherwise_than_several():
    assert [GERMAN.many("{n} call", "{n} calls", n) for n in (0, 1, 2)] == ["0 Anrufe", "1 Anruf", "2 Anrufe"]


def test_an_api_sentence_is_translated_with_any_values():
    assert GERMAN.sentence("At most 4096 bytes are accepted.") == "Höchstens 4096 Bytes werden angenommen."
    held = "2 of these calls are under legal hold, so nothing is erased. Release them first, or leave them out; "
    german = GERMAN.sentence(f"{held}`hold` of a call says whether it is held.")
    assert german.startswith("2 dieser Anrufe stehen unter Löschsperre") and "lassen Sie" in german
    for other in ("Something else 4", "At most 4 bytes are accepted. Or more.", "No: At most 4 bytes are accepted."):
        assert GERMAN.sentence(other) == other


def test_a_value_that_looks_like_a_place_is_left_alone():
    assert GERMAN("then known as {name}", name="{n} <b>") == "damals bekannt als {n} <b>"
    assert (
        GERMAN.sentence("It needs one of these roles: {roles} {0}.")
        == "Dafür braucht es eine dieser Rollen: {roles} {0}."
    )


@pytest.mark.parametrize(
    ("accepted", "languages"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", ["de", "de", "en"]),
        ("fr, en;q=0.2, de;q=0.7", ["fr", "de", "en"]),
        ("de;q=0, en", ["en"]),
        ("de;q=x, *", ["*"]),
        ("", [""]),
    ],
)
def test_the_browser_says_what_it_prefers(accepted, languages):
    assert preferred(accepted) == languages


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"), [("de", "en", "de"), ("", "de-AT", "de"), ("xx", "fr", "en"), ("", "", "en")]
)
def test_the_language_chosen_on_the_page_wins(cookie, accepted, language):
    assert Translations.chosen(cookie, accepted).language == language
