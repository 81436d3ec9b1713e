"""Figures by language, as such and in texts and templates."""

import re
from pathlib import Path

import pytest

from admin_api import page
from admin_api.http.messages import Message
from admin_api.page.framework.figures import number, size
from admin_api.page.framework.translations import Translations

TEMPLATES = Path(page.__file__).parent / "templates"


@pytest.mark.parametrize(
    ("value", "english", "german"),
    [(0, "0", "0"), (999, "999", "999"), (1234567, "1,234,567", "1.234.567"), (-1.25, "-1.2", "-1,2"),
     (0.0, "0.0", "0,0"), (1234.56, "1,234.6", "1.234,6")],
)  # fmt: skip
def test_numbers(value, english, german):
    assert (number(value, "en"), number(value, "de")) == (english, german)


def test_a_speed_has_the_decimals_that_it_has():
    assert [number(each, "de", exact=True) for each in (0.75, 1.0, 1.5)] == ["0,75", "1", "1,5"]


@pytest.mark.parametrize(
    ("count", "english", "german"),
    [(None, "–", "–"), (0, "0 B", "0 B"), (999, "999 B", "999 B"), (1000, "1.0 kB", "1,0 kB"),
     (1_530_000, "1.5 MB", "1,5 MB"), (5 * 10**9, "5.0 GB", "5,0 GB"), (10**15, "1,000.0 TB", "1.000,0 TB")],
)  # fmt: skip
def test_sizes(count, english, german):
    assert (size(count, "en"), size(count, "de")) == (english, german)


def test_numbers_in_a_text():
    german = Translations("de")
    assert german("retention.n-day", n=36500) == "36.500 Tage"
    assert german("mark.missing", seconds=12.34) == "12,3 s fehlen"
    said = Message("problem.most-bytes", "At most {limit} bytes are accepted.").of(limit=4096)
    assert "4.096" in german.sentence(said) and "4096" in said


def test_no_template_writes_a_decimal_by_itself():
    wrong = re.compile(r"\| *(round|format)\b(?!.*\| *int)|%\.\d")
    texts = {path.name: path.read_text() for path in TEMPLATES.rglob("*.html")}
    assert texts
    assert not {name: found[0] for name, text in texts.items() if (found := wrong.search(text))}
