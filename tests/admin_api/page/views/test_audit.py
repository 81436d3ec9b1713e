"""The audit view: for auditors alone, in words, with pages."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest

from admin_api.http.permissions import Action, Role
from admin_api.page.framework.translations import Translations
from admin_api.page.views import audit
from admin_api.page.views.audit import ACTIONS
from storage.access.actor import Actor, Kind
from storage.audit.hash_chain import Act
from tests.admin_api.page.conftest import words

ROOT = Path(__file__).parents[4]
_NOTED = re.compile(r'\b(?:note|tell|act|Act\.of)\([^()]*?"([a-z]+\.[a-z_]+)"')
_COUNTED = re.compile(r'\b(?:_?note|Act\.of)\([^\n]*\bf"\{[^"]+?\} ([a-z ]+)"')


def test_the_auditor_reads_who_did_what(browse, service):
    service.ask(f"/calls/{service.ids['acme'][0]}", "listener")
    service.ask(f"/calls/{service.ids['acme'][0]}/media", "privacy")
    auditor = browse(Role.AUDITOR)
    seen = auditor.text("/audit")
    assert "Looked at a call" in seen and service.ids["acme"][0] in seen and "not for this role" in seen
    assert "nicht für diese Rolle" in words(auditor.get("/audit", headers={"Accept-Language": "de"}).text)
    assert browse(Role.ADMIN).get("/audit").status_code == 404


def test_later_audit_entries_show_the_actor_id(browse, service):
    audit, somebody = service.customers["acme"].audit, Actor(Kind.OPENID, "https://id.example s-1", "new entry")
    for act in (Act("old entry", "admin", "call.view"), Act.of(somebody, "admin", "call.view")):
        audit.append(act).result()
    page = browse(Role.AUDITOR).get("/audit").text
    assert "old entry" in page and 'title="openid https://id.example s-1"><bdi>new entry' in page
    new, old = service.ask("/audit?limit=3", "auditor").json()["items"][-2:]
    assert (new["actor_id"], "actor_id" in old) == ("https://id.example s-1", False)


HOSTILE = '"><img src=x onerror=alert(1)>\u202e{{ 7 * 7 }}'


def test_names_and_reasons_from_outside_are_only_shown(browse, service):
    """In every list that has them, and in the fields and links that are made of them."""
    log, somebody = service.customers["acme"].audit, Actor(Kind.OPENID, HOSTILE, HOSTILE)
    log.append(Act.of(somebody, HOSTILE, HOSTILE, HOSTILE, "done", HOSTILE)).result()
    asked = {"query": {"party": HOSTILE}, "format": "csv", "columns": ["id"], "reason": HOSTILE}
    export = service.ask("/exports", "privacy", method="POST", json=asked).json()["id"]
    browser, typed = browse(*Role), quote(HOSTILE)
    for path in ("/audit", f"/audit?actor={typed}", f"/audit?object={typed}", f"/audit?action={typed}", "/exports",
                 f"/exports/{export}", f"/calls?party={typed}", f"/sign-in?next={typed}&customer={typed}",
                 f"/invitation?customer={typed}&key=x"):  # fmt: skip
        page = browser.get(path).text
        assert "<img" not in re.sub(r'<img src="/static/[^"]*" alt="">', "", page), path
        assert "49" not in re.findall(r"onerror=alert\(1\)&gt;[^<]{0,20}", page), path
        if path in ("/audit", "/exports", f"/exports/{export}"):
            assert "⟨U+202E⟩{{ 7 * 7 }}" in page and "\u202e" not in page, path


def test_it_is_read_page_by_page(browse, service, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 2)
    for _ in range(3):
        service.ask("/calls")
    auditor = browse(Role.AUDITOR)
    (older,) = re.findall(r'rel="next" href="([^"]+)"', auditor.get("/audit?since=2020-01-01").text)
    assert older.startswith("/audit?since=2020-01-01&amp;cursor=")
    second = auditor.get(unescape(older))
    assert second.status_code == 200 and 'href="/audit?since=2020-01-01"' in second.text
    assert "Nothing has been logged since then." in auditor.text("/audit?since=2999-01-01")
    assert "No entry matches." in auditor.text("/audit?actor=nobody")
    for query in ("since=yesterday", "cursor=%21", "object=42"):
        answer = auditor.get(f"/audit?{query}")
        assert answer.status_code == 422 and 'role="alert"' in answer.text


@pytest.mark.parametrize(
    ("reason", "german"),
    [
        ("", ""),
        ("3 calls, media opus, other parties", "3 Anrufe, Medien als opus, mit den anderen Teilnehmern"),
        ("7 calls in, 2 out", "7 Anrufe dabei, 2 nicht"),
        ("listener, admin", "Hörer, Administrator"),
        ("access, erasure", "Auskunft, Löschung"),
        ("system", "System"),
        ("refused, rights_of_others", "abgelehnt, Rechte anderer"),
        ("2 added, 0 changed, 1 unmapped, 5 unchanged", "2 dazugekommen, 0 geändert, 1 abgelöst, 5 unverändert"),
        ("1 calls in", "1 Anruf dabei"),
        ("1 nodes have not erased it yet", "1 Knoten hat noch nicht gelöscht"),
        ("node 2", "Knoten 2"),
        ("she asked, not twice", "she asked, not twice"),
    ],
)
def test_a_reason_is_translated_except_for_typed_text(reason, german):
    assert audit.in_words(Translations("de"), reason) == german


def test_every_action_can_be_chosen_on_the_audit_page():
    files = [path for package in ("recorder", "storage", "admin_api") for path in (ROOT / package).rglob("*.py")]
    noted = {found for path in files for found in _NOTED.findall(path.read_text())}
    assert {"keys.rotate", "customer.add", "erasure.done"} <= noted
    assert {action.value for action in Action} | noted <= set(ACTIONS), "in admin_api/page/views/audit.py"


def test_every_number_that_is_noted_has_german_words():
    files = [path for package in ("recorder", "storage", "admin_api") for path in (ROOT / package).rglob("*.py")]
    things = {found for path in files for found in _COUNTED.findall(path.read_text())}
    assert {"calls", "rules", "nodes have not erased it yet"} <= things
    noted = [f"2 {thing}" for thing in things]
    assert [each for each in noted if audit.in_words(Translations("de"), each) == each] == []


def test_the_audit_view_filters_by_person_action_and_call(browse, service):
    answer_of, other = service.ids["acme"][:2]
    service.ask(f"/calls/{answer_of}/media", "listener")
    service.ask(f"/calls/{other}/media", "listener")
    service.ask(f"/calls/{answer_of}", "privacy")
    auditor = browse(Role.AUDITOR)
    actor = service.acts()[-3]["actor"]
    page = auditor.get("/audit").text
    for name, value in (("object", answer_of), ("action", "call.media"), ("actor", actor)):
        assert f'href="/audit?{name}={value}"' in page
    rows = auditor.get(f"/audit?object={answer_of}&action=call.media").text.split("<tbody>")[1]
    assert answer_of in rows and other not in rows and "Looked at a call" not in rows
    assert f"actor={actor}" in rows
    file = auditor.get(f"/audit/file?object={answer_of}&action=call.media&format=csv")
    assert file.status_code == 200 and answer_of in file.text and other not in file.text
    assert f"/calls/{answer_of}" not in page  # an auditor who may not look at calls gets no link to one
    both = browse(Role.AUDITOR, Role.LISTENER)
    assert f'href="/calls/{answer_of}"' in both.get("/audit").text
    assert f'href="/audit?object={answer_of}"' in both.get(f"/calls/{answer_of}").text
    assert "/audit" not in browse(Role.LISTENER).get(f"/calls/{answer_of}").text
