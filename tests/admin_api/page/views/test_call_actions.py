"""What is done with a call by plain forms."""

import pytest

from admin_api.http.permissions import Role
from tests.admin_api.privacy.test_waiver import put as permit


def test_pause_and_resume(service, browse):
    browser, call = browse(Role.ADMIN), service.ids["acme"][0]
    over = browser.post(f"/calls/{call}/pause")
    assert over.status_code == 409 and "The call is over" in over.text and "<h1>" in over.text
    service.daemon.live["acme", call] = {"id": call, "state": "recording"}
    for act in ("pause", "resume"):
        answer = browser.post(f"/calls/{call}/{act}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/calls/{call}")
        assert (act, "acme", call) in service.daemon.asked


def test_hold_with_a_reason_and_release(service, browse):
    permit(service)
    browser, call = browse(Role.PRIVACY), service.ids["acme"][0]
    answer = browser.post(f"/calls/{call}/hold", {"reason": " "})
    assert answer.status_code == 422 and "reason" in answer.text
    assert browser.post(f"/calls/{call}/hold", {"reason": "Court <file> 7"}).status_code == 303
    page = browser.get(f"/calls/{call}").text
    assert "Court &lt;file&gt; 7" in page and "Release the hold" in page and "by Grace" in page
    assert "cannot be erased until the hold is released" in browser.text(f"/calls/{call}/erase")
    assert browser.post(f"/calls/{call}/erase", {"typed": call[:8], "reason": "she asked"}).status_code == 409
    assert browser.post(f"/calls/{call}/release").status_code == 303
    assert "Put under legal hold" in browser.get(f"/calls/{call}").text


def test_a_call_is_corrected_and_exported(service, browse):
    browser, call = browse(Role.PRIVACY), service.ids["acme"][1]
    assert browser.post(f"/calls/{call}/notes", {"text": "It was\r\n<Anna>."}).status_code == 303
    assert "It was\n&lt;Anna&gt;." in browser.get(f"/calls/{call}").text
    refused = browser.post(f"/calls/{call}/notes", {"text": "<b>" + "x" * 4000})
    assert refused.status_code == 422 and 'maxlength="4000">&lt;b&gt;xxx' in refused.text, "what was typed is lost"
    answer = browser.post(f"/calls/{call}/export", {"format": "csv", "media": "opus", "reason": "Art. 15"})
    place = answer.headers["location"]
    assert answer.status_code == 303 and place.startswith("/exports/")
    shown = service.ask(place).json()
    assert (shown["format"], shown["media"], shown["state"]) == ("csv", "opus", "running")
    assert not any("name" in column for column in shown["columns"])


def test_a_call_is_erased_with_a_waiver_once_its_id_was_typed(service, browse):
    browser, call = browse(Role.PRIVACY), service.ids["acme"][2]
    permit(service, expires_at="2026-01-02T00:00:00Z")
    page = browser.text(f"/calls/{call}/erase")
    assert "It cannot be undone." in page and "No waiver is active" in page and "Erase for ever" not in page
    permit(service)
    page = browser.text(f"/calls/{call}/erase")
    assert f"Type {call[:8]} to confirm" in page and "Erase for ever" in page and "It happens at once" in page
    wrong = browser.post(f"/calls/{call}/erase", {"typed": "delete", "reason": "she asked"})
    assert wrong.status_code == 422 and "Nothing was erased" in wrong.text and 'value="she asked"' in wrong.text
    assert service.ask("/erasures").json()["items"] == []
    done = browser.post(f"/calls/{call}/erase", {"typed": f" {call[:8].upper()} ", "reason": "she asked"})
    assert done.status_code == 303
    assert service.ask(done.headers["location"]).json()["state"] in ("running", "done")


@pytest.mark.parametrize("act", ["pause", "resume", "hold", "release", "notes", "export", "erase"])
def test_a_listener_finds_no_act_and_a_forged_form_does_nothing(service, browse, act):
    call = service.ids["acme"][0]
    assert browse(Role.LISTENER).post(f"/calls/{call}/{act}", {"reason": "x"}).status_code == 404
    forged = browse(Role.ADMIN).post(f"/calls/{call}/{act}", {"reason": "x", "csrf": "0" * 64})
    assert forged.status_code == 403
