"""Templates and filters."""

from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest

from admin_api import page
from admin_api.http.messages import Message
from admin_api.http.problems import Problem
from admin_api.page.framework.templating import Templates, length, moment
from admin_api.page.framework.translations import Translations


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        (length, None, "–"), (length, 0, "0:00"), (length, 61_499, "1:01"), (length, 3_599_600, "1:00:00"),
        (length, 90_000_000, "25:00:00"), (moment, None, "–"),
        (moment, "2026-02-16T09:00:01.234Z", "2026-02-16 09:00:01"),
    ],
)  # fmt: skip
def test_lengths_and_moments(shown, value, text):
    assert shown(value) == text


def test_templates_escape_outside_text():
    title, detail = Message("problem.title", "<script>alert(1)</script>"), Message("problem.detail", "\"'><b>")
    hostile = frame(problem=Problem(400, "hostile", title, detail))
    html, part = Templates().page("refused.html", hostile), Templates().part("refused.html", "main", hostile)
    for shown in (html, part):
        assert "<script>alert" not in shown and "&lt;script&gt;alert(1)" in shown and "<b>" not in shown
    assert "<html" in html and "<html" not in part
    with pytest.raises(jinja2.UndefinedError):
        Templates().page("refused.html", frame())


def test_invisible_characters_are_shown_but_kept_in_fields():
    turned = "Anna\u202egnp.exe"
    problem = Problem(400, "turned", Message("problem.title", turned), Message("problem.detail", turned))
    html = Templates().page("refused.html", frame(problem=problem))
    assert "<h1>Anna⟨U+202E⟩gnp.exe</h1>" in html
    given = dict.fromkeys(("identities", "user", "received_at", "reference", "reason"), turned)
    asked = frame(request=SimpleNamespace(once=str), given=given, kinds=[], all_kinds=[], problem=None)
    form = Templates().page("request_new.html", asked)
    assert f'name="reference" value="{turned}"' in form and f">{turned}</textarea>" in form


def frame(**values):
    known = {"visit": None, "_": Translations("en"), "language": "en", "theme": "", "person": None}
    return {**known, "menu": (), "csrf": "", "path": "/", **values}


def test_no_line_of_a_template_is_too_long_to_read():
    files = Path(page.__file__).parent.rglob("templates/**/*.html")
    lines = [(path.name, number, line) for path in files for number, line in enumerate(path.read_text().split("\n"), 1)]
    assert len(lines) > 500 and [(name, number) for name, number, line in lines if len(line) > 160] == []
