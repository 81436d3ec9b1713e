"""The page speaks English and German: nothing is left out, and values arrive in the sentence that they belong to."""

import string

import pytest

from admin_api.http.messages import Message
from admin_api.page.framework.translations import Translations, catalogue, languages, preferred
from tests.admin_api.page import page_texts

GERMAN = Translations("de")


def forms(message):
    return message.string if isinstance(message.string, tuple) else (message.string,)


def places(*texts):
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}


def id_of(message):
    return message.id if isinstance(message.id, str) else message.id[0]


def ids(language):
    return {id_of(message) for message in catalogue(language)} - {""}


def test_every_text_that_the_page_shows_is_in_english():
    groups = {id[: at + 1] for id in ids("en") for at, letter in enumerate(id) if letter == "."}
    used = [*page_texts.templates(), *((id, "code") for id in page_texts.codes())]
    assert [f"{where}: {id}" for id, where in used if id not in (groups if id.endswith(".") else ids("en"))] == []


@pytest.mark.parametrize("language", [name for name in languages() if name != "en"])
def test_a_language_has_every_text_with_the_same_values(language):
    assert ids(language) == ids("en")
    told = {str(message.id): places(*forms(message)) for message in catalogue("en")}
    assert [message.id for message in catalogue(language) if places(*forms(message)) - told[str(message.id)]] == []
    assert [message.id for message in catalogue(language) if not all(forms(message))] == []


@pytest.mark.parametrize("language", languages())
def test_every_message_of_the_code_has_a_text_in_each_language(language):
    known = ids(language)
    groups = {id[: at + 1] for id in known for at, letter in enumerate(id) if letter == "."}
    told = [*((id, where) for id, _, where in page_texts.messages()), *page_texts.troubles()]
    assert [f"{where}: {id}" for id, where in told if id not in (groups if id.endswith(".") else known)] == []
    assert len(told) > 150


def test_a_message_has_one_text_and_every_value_the_page_uses():
    whole = [each for each in page_texts.messages() if not each[0].endswith(".")]
    english = {id: text for id, text, _ in whole}
    assert [f"{where}: {id}" for id, text, where in whole if not text or english[id] != text] == []
    shown = {id_of(each): places(*forms(each)) for each in catalogue("en")}
    assert [id for id, text, _ in whole if shown[id] - places(text)] == []


def test_values_are_put_into_the_right_form_of_a_text():
    assert [GERMAN("note.n.calls", n=n) for n in (0, 1, 2)] == ["0 Anrufe", "1 Anruf", "2 Anrufe"]
    assert Translations("en")("note.n.calls", n=1) == "1 call"
    assert GERMAN("requests.then-known-as-name", name="{n} <b>") == "damals bekannt als {n} <b>"
    assert GERMAN.code("incident", "sync-failed") == "Die Platte hat einen Schreibvorgang nicht angenommen"
    assert GERMAN.code("incident", "unheard-of") == "unheard-of"


@pytest.mark.parametrize("language", languages())
def test_singular_and_plural_texts_differ(language):
    texts = {id_of(message): forms(message) for message in catalogue(language)}
    alike = [id for id, said in texts.items() if len(said) > 1 and said[0] == said[1]]
    assert alike == (["note.n.recipients"] if language == "de" else [])  # Empfänger are called so, one or several


def test_german_texts_have_german_words():
    texts = [text for message in catalogue("de") for text in forms(message)]
    foreign = ("Recorder", "Rolle approver", "Spaltenauswahl", "Anlage")
    assert [text for text in texts if any(word in text for word in foreign)] == []


def test_a_message_is_translated_with_its_values_filled_in():
    most = Message("problem.most-bytes", "At most {limit} bytes are accepted.").of(limit=4096)
    assert (most, GERMAN.sentence(most)) == (
        "At most 4096 bytes are accepted.",
        "Höchstens 4.096 Bytes werden angenommen.",
    )
    choices = Message("reason.one-of", "must be one of {choices}").of(choices=("wav", "{mp3}"))
    assert (choices, GERMAN.sentence(choices)) == (
        "must be one of wav, {mp3}",
        "muss eines von diesen sein: wav, {mp3}",
    )
    held = Message("problem.held", "{n} of these calls are under legal hold.")
    assert [GERMAN.sentence(held.of(n=n)).split(",")[0] for n in (1, 2)] == [
        "1 dieser Anrufe steht unter Löschsperre",
        "2 dieser Anrufe stehen unter Löschsperre",
    ]


def test_a_message_in_a_message_is_translated_too():
    over = Message("problem.call-over", "The call is over; only a live call can be paused and resumed.")
    whole = Message("export-problem.other", "{text}").of(text=over)
    assert (whole, GERMAN.sentence(whole)) == (over, GERMAN.sentence(over)) and GERMAN.sentence(over) != over


def test_a_message_without_a_text_is_shown_as_the_api_says_it():
    unknown = Message("problem.unheard-of", "{n} things are new.").of(n=3)
    assert GERMAN.sentence(unknown) == Translations("en").sentence(unknown) == "3 things are new."


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
