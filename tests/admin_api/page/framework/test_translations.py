"""The page speaks English and German: nothing is left out, and values arrive in the sentence that they belong to."""

from __future__ import annotations

import re
import string

import pytest

from admin_api.page.framework.translations import Translations, catalogue, languages, preferred, shapes
from tests.admin_api.page import page_texts

GERMAN = Translations("de")
PLACE = re.compile(r"\{\w+\}")


def forms(message):
    return message.string if isinstance(message.string, tuple) else (message.string,)


def ids(language):
    return {message.id if isinstance(message.id, str) else message.id[0] for message in catalogue(language)} - {""}


def test_every_text_that_the_page_shows_is_in_english():
    groups = {id[: at + 1] for id in ids("en") for at, letter in enumerate(id) if letter == "."}
    used = [*page_texts.templates(), *((id, "code") for id in page_texts.codes())]
    assert [f"{where}: {id}" for id, where in used if id not in (groups if id.endswith(".") else ids("en"))] == []


def test_no_text_is_left_over():
    used = {id for id, _ in page_texts.templates()} | set(page_texts.codes()) | page_texts.ids_in_code()
    groups = tuple(id for id in used if id.endswith("."))
    assert [id for id in sorted(ids("en")) if id not in used and not id.startswith(groups)] == []


@pytest.mark.parametrize("language", [name for name in languages() if name != "en"])
def test_a_language_has_every_text_with_the_same_values(language):
    assert ids(language) == ids("en")

    def places(message):
        return {name for text in forms(message) for _, name, _, _ in string.Formatter().parse(text) if name}

    told = {str(message.id): places(message) for message in catalogue("en")}
    assert [message.id for message in catalogue(language) if places(message) - told[str(message.id)]] == []
    assert [message.id for message in catalogue(language) if not all(forms(message))] == []


def test_every_sentence_of_the_api_has_german():
    missing = []
    for text, where in page_texts.problems():
        example = PLACE.sub("7", text)
        if GERMAN.sentence(example) == example and not any(shape.fullmatch(example) for shape, _ in shapes("de")):
            missing.append(f"{where}: {text}")
    assert missing == []


def test_a_page_shows_no_methods_or_paths_of_the_api():
    english_page, technical = Translations("en"), re.compile(r"\b(GET|PUT|POST|DELETE) |/openapi|null\b")
    sentences = {english_page.sentence(PLACE.sub("7", text)) for text, _ in page_texts.problems()}
    assert [text for text in sentences if technical.search(text)] == []


def test_values_are_put_into_the_right_form_of_a_text():
    assert [GERMAN("note.n.calls", n=n) for n in (0, 1, 2)] == ["0 Anrufe", "1 Anruf", "2 Anrufe"]
    assert Translations("en")("note.n.calls", n=1) == "1 call"
    assert GERMAN("requests.then-known-as-name", name="{n} <b>") == "damals bekannt als {n} <b>"
    assert GERMAN.code("incident", "sync-failed") == "Die Platte hat einen Schreibvorgang nicht angenommen"
    assert GERMAN.code("incident", "unheard-of") == "unheard-of"


def test_a_sentence_of_the_api_is_translated_with_any_values():
    assert GERMAN.sentence("At most 4096 bytes are accepted.") == "Höchstens 4096 Bytes werden angenommen."
    held = "2 of these calls are under legal hold, so nothing is erased. Release them first, or leave them out; "
    german = GERMAN.sentence(f"{held}`hold` of a call says whether it is held.")
    assert german.startswith("2 dieser Anrufe stehen unter Löschsperre") and "lassen Sie" in german
    for other in ("Something else 4", "At most 4 bytes are accepted. Or more.", "No: At most 4 bytes are accepted."):
        assert GERMAN.sentence(other) == other


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", ["de", "de", "en"]),
        ("fr, en;q=0.2, de;q=0.7", ["fr", "de", "en"]),
        ("de;q=0, en", ["en"]),
        ("de;q=x, *", ["*"]),
        ("", [""]),
    ],
)
def test_the_browser_says_what_it_prefers(accepted, wanted):
    assert preferred(accepted) == wanted


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"), [("de", "en", "de"), ("", "de-AT", "de"), ("xx", "fr", "en"), ("", "", "en")]
)
def test_the_language_chosen_on_the_page_wins(cookie, accepted, language):
    assert Translations.chosen(cookie, accepted).language == language
