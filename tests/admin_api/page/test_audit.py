"""The audit view: for auditors alone, in words, with pages."""

from __future__ import annotations

import pytest

from admin_api.page import audit
from admin_api.roles import Role


def test_the_auditor_reads_who_did_what(browse, service):
    service.ask(f"/calls/{service.ids['acme'][0]}", "listener")
    seen = browse(Role.AUDITOR).text("/audit")
    assert "Looked at a call" in seen and service.ids["acme"][0] in seen
    assert browse(Role.ADMIN).get("/audit").status_code == 404


def test_it_is_read_page_by_page(browse, service, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 2)
    for _ in range(3):
        service.ask("/calls")
    auditor = browse(Role.AUDITOR)
    first = auditor.get("/audit?since=2020-01-01").text
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert older.startswith("/audit?since=2020-01-01&cursor=")
    second = auditor.get(older)
    assert second.status_code == 200 and 'href="/audit?since=2020-01-01"' in second.text


def test_a_day_in_the_future_has_nothing(browse):
    assert "Nothing was written down since then." in browse(Role.AUDITOR).text("/audit?since=2999-01-01")


@pytest.mark.parametrize("query", ["since=yesterday", "cursor=%21"])
def test_a_wrong_question_is_said(browse, query):
    answer = browse(Role.AUDITOR).get(f"/audit?{query}")
    assert answer.status_code == 422 and 'role="alert"' in answer.text
