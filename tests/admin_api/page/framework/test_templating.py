"""Templates and filters."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from markupsafe import Markup

from admin_api import page
from admin_api.page.framework.templating import Templates, length, moment, size
from admin_api.page.framework.translations import Translations


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(None, "–"), (0, "0:00"), (61_499, "1:01"), (3_599_600, "1:00:00"), (90_000_000, "25:00:00")],
)
def test_lengths(milliseconds, shown):
    assert length(milliseconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5 * 10**9, "5.0 GB"), (10**15, "1000.0 TB")],
)
def test_sizes(count, shown):
    assert size(count) == shown


def test_moments_are_shown_to_the_second():
    assert moment("2026-02-16T09:00:01.234Z") == "2026-02-16 09:00:01"
    assert moment(None) == "–"


def test_templates_escape_outside_text():
    html = Templates().page("refused.html", frame(problem={"title": "<script>alert(1)</script>", "detail": "\"'><b>"}))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<b>" not in html


def test_invisible_characters_are_shown_but_kept_in_fields():
    turned = "Anna\u202egnp.exe"
    html = Templates().page("refused.html", frame(problem={"title": turned, "detail": Markup("<i>\u202e</i>")}))
    assert "<h1>Anna⟨U+202E⟩gnp.exe</h1>" in html
    given = dict.fromkeys(("identities", "user", "received_at", "reference", "reason"), turned)
    asked = frame(request=SimpleNamespace(once=str), given=given, kinds=[], all_kinds=[], problem=None)
    form = Templates().page("request_new.html", asked)
    assert f'name="reference" value="{turned}"' in form and f">{turned}</textarea>" in form


def test_a_forgotten_value_is_an_error_and_not_an_empty_place():
    with pytest.raises(jinja2.UndefinedError):
        Templates().page("refused.html", frame())


def test_a_part_is_one_block_only():
    part = Templates().part("refused.html", "main", frame(problem={"title": "No", "detail": "Not now."}))
    assert "<h1>No</h1>" in part
    assert "<html" not in part


def frame(**values):
    known = {"visit": None, "_": Translations("en"), "language": "en", "theme": "", "person": None}
    return {**known, "menu": (), "csrf": "", "path": "/", **values}


def test_no_line_of_a_template_is_too_long_to_read():
    files = Path(page.__file__).parent.rglob("templates/**/*.html")
    lines = [(path.name, number, line) for path in files for number, line in enumerate(path.read_text().split("\n"), 1)]
    assert len(lines) > 500 and [(name, number) for name, number, line in lines if len(line) > 160] == []
