"""What is noted of reports: enough to prove what was handed over, nothing that opens or names anybody."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from storage.subject_requests import report_log
from storage.subject_requests.report_log import Wanted, asked_for, with_end, with_fetched, with_report

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEXT = "2026-03-01T12:00:00.000000Z"


def noted(*exports):
    found: Mapping[str, Any] = {"other": 1}
    for export in exports:
        found = with_report(found, asked_for(export, Wanted("wav", passphrase="correct horse"), "paula", T0))
    return found


def test_a_report_log_has_the_encryption_but_no_secret():
    (one,) = noted("e1")["reports"]
    assert one["encrypted"] == "passphrase" and "horse" not in str(one)
    assert Wanted(recipient="age1x").encrypted == "recipient" and Wanted().encrypted is None
    assert "horse" not in repr(Wanted(passphrase="correct horse"))


def test_notes_have_an_end(monkeypatch):
    monkeypatch.setattr(report_log, "MAX_REPORTS", 2)
    monkeypatch.setattr(report_log, "MAX_FETCHED", 1)
    found = noted("e1", "e2", "e3")
    assert [one["export"] for one in found["reports"]] == ["e2", "e3"]
    for by in ("a", "b"):
        found = with_fetched(found, "e3", T0, by)
    assert [each["by"] for each in found["reports"][1]["fetched"]] == ["b"]


def test_a_report_from_the_asking_to_its_end_and_the_fetching():
    found = with_end(noted("e1", "e2"), "e1", "done", T0, {"sha256": "00"})
    found = with_end(with_fetched(found, "e1", T0, "anton"), "e2", "failed", T0, {"problem": "No room."})
    one, other = found["reports"]
    assert (one["done_at"], one["state"], one["sha256"]) == (TEXT, "done", "00")
    assert (one["fetched"], other["fetched"]) == ([{"at": TEXT, "by": "anton"}], [])
    assert "done_at" not in other and (other["ended_at"], other["problem"]) == (TEXT, "No room.")
    assert found["other"] == 1 and with_end({}, "e1", "done", T0, {}) == {"reports": []}
