"""The list of calls moves by itself in a real browser, and only where something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from admin_api.http.permissions import Role
from storage.calls.call_index import CallRow, CallState
from storage.search_forms import stored
from storage.timestamps import rfc3339
from tests.in_process import sample_customer
from tests.page.conftest import Town

PARTY = {"role": "caller", "name": "Yusuf Kaya", "number": "+49305559999", "uri": None}


@pytest.fixture
def live(service: Town) -> Iterator[dict[str, Any]]:
    """A call under way."""
    began = sample_customer.FIRST + timedelta(days=22)
    row = CallRow("feedface-5e1f-4a6b-9c2d-000000000001", 20_780 << 32 | 1, CallState.RECORDING, began, None, 0, 0)
    row = replace(row, details={"parties": [PARTY], "streams": []})
    calls = service.customers["acme"].calls
    service.run(calls.put([row], [stored(PARTY, "DE")]))
    shown = {"id": row.id, "state": "recording", "duration_ms": 65_000, "parties": [PARTY], "paused": False}
    service.daemon.live["acme", row.id] = shown
    yield shown
    over = replace(row, state=CallState.COMPLETE, ended_at=began, duration_ms=70_000)
    service.run(calls.put([over], [stored(PARTY, "DE")]))


def end(service: Town, live: dict[str, Any]) -> None:
    """End the call, as the daemon writes it down."""
    calls = service.customers["acme"].calls
    row = service.run(calls.get(live["id"]))
    over = replace(row, state=CallState.COMPLETE, ended_at=row.started_at, duration_ms=70_000)
    service.run(calls.put([over], [stored(PARTY, "DE")]))
    del service.daemon.live["acme", live["id"]]


def test_a_call_that_is_paused_and_ends_moves_without_a_reload(
    service: Town, visitor: Callable[..., Page], live: dict[str, Any]
) -> None:
    page = visitor(Role.ADMIN)
    page.goto("/calls")
    page.evaluate("window.same = true")
    above, found = page.locator("#live"), page.locator("#found")
    expect(above.get_by_text("Yusuf Kaya")).to_be_visible()
    expect(above.locator("[data-elapsed]")).not_to_have_text("1:05")  # the length goes on by itself
    above.get_by_role("link").first.focus()
    live["paused"] = True
    expect(above.get_by_text("paused")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == f"live-{live['id']}"
    end(service, live)
    expect(above.get_by_text("No call is being recorded")).to_be_visible()
    expect(found.get_by_text("Yusuf Kaya")).to_be_visible()
    assert page.evaluate("window.same")
    templates = [act for act in service.acts() if act["action"] == "calls.search"]
    assert len(templates) <= 5  # the page, the first look of each block; later ones are silent for a minute


def test_nothing_is_swapped_while_nothing_changed(
    service: Town, visitor: Callable[..., Page], live: dict[str, Any]
) -> None:
    page = visitor(Role.LISTENER)
    page.goto("/calls")
    page.evaluate("document.getElementById('live').dataset.kept = 'yes'")
    with page.expect_response(lambda answer: "/calls/live" in answer.url) as looked:
        pass
    assert looked.value.status == 204
    assert page.evaluate("document.getElementById('live').dataset.kept") == "yes"


def test_a_recorder_that_does_not_answer_is_said(visitor: Callable[..., Page]) -> None:
    page = visitor(Role.LISTENER, watched=False)  # htmx writes it to the console too
    page.goto("/calls")
    expect(page.locator("#told")).to_be_hidden()
    page.route("**/calls/live*", lambda route: route.fulfill(status=503, body=""))
    expect(page.locator("#told")).to_be_visible()
    page.unroute("**/calls/live*")
    expect(page.locator("#told")).to_be_hidden()


def test_without_scripts_there_is_a_link_and_times_are_utc(visitor: Callable[..., Page], live: dict[str, Any]) -> None:
    page = visitor(Role.LISTENER, scripts=False)
    page.goto("/calls")
    expect(page.locator("#live").get_by_role("link", name="Look again")).to_be_visible()
    expect(page.locator("#found tbody tr").first.get_by_role("link")).to_contain_text("UTC")


def test_with_scripts_times_are_the_readers_own(visitor: Callable[..., Page]) -> None:
    page = visitor(Role.LISTENER)
    page.goto("/calls?until=2026-11-02")
    first = page.locator("#found tbody tr").first.get_by_role("link")
    expect(first).to_have_text("2026-11-02 20:07:00 CET")  # 19:07 UTC in Berlin
    expect(page.locator("input[name=zone]")).to_have_value("Europe/Berlin")


def test_opened_details_stay_open_while_a_call_continues(
    service: Town, visitor: Callable[..., Page], live: dict[str, Any]
) -> None:
    page = visitor(Role.ADMIN)
    live["started_at"] = rfc3339(sample_customer.FIRST + timedelta(days=22))
    page.goto(f"/calls/{live['id']}")
    page.get_by_text("The time line as a table").click()
    live["paused"] = True
    expect(page.locator("#now").get_by_text("paused", exact=True).first).to_be_visible()
    expect(page.locator("#now details")).to_have_attribute("open", "")


def test_the_waveform_stays_while_a_call_continues(
    service: Town, visitor: Callable[..., Page], live: dict[str, Any]
) -> None:
    page = visitor(Role.ADMIN, Role.LISTENER)
    live["started_at"] = rfc3339(sample_customer.FIRST + timedelta(days=22))
    live["streams"] = [{"label": "1", "media": "audio", "party": 0}]
    page.goto(f"/calls/{live['id']}")
    expect(page.locator(".player[data-drawn]")).to_be_visible()
    live["paused"] = True
    expect(page.locator("#now").get_by_text("paused", exact=True).first).to_be_visible()
    expect(page.locator(".wave-says")).to_be_hidden()


def test_a_call_being_recorded_has_no_length_in_a_request(service: Town, visitor: Callable[..., Page]) -> None:
    """A call of its own: the row of one that was over once stays over, as in a database."""
    caller = {**PARTY, "number": "+493012340099", "uri": "sip:+493012340099@pbx.example", "name": "Live Caller"}
    row = CallRow(
        "feedface-5e1f-4a6b-9c2d-000000000099",
        20_780 << 32 | 99,
        CallState.RECORDING,
        sample_customer.FIRST,
        None,
        0,
        0,
    )
    row = replace(row, details={"parties": [caller], "streams": []})
    service.run(service.customers["acme"].calls.put([row], [stored(caller, "DE")]))
    letter = {"kind": ["access"], "identities": [caller["number"]], "reference": "letter 18"}
    request = service.ask("/requests", "privacy", method="POST", json=letter).json()["id"]
    page = visitor(Role.PRIVACY)
    page.goto(f"/requests/{request}")
    expect(page.locator("#calls tbody td.num").first).to_have_text("live")
    over = replace(row, state=CallState.COMPLETE, ended_at=sample_customer.FIRST, duration_ms=70_000)
    service.run(service.customers["acme"].calls.put([over], [stored(caller, "DE")]))


def test_times_name_the_zone_of_the_reader(service: Town, visitor: Callable[..., Page]) -> None:
    page = visitor(Role.ADMIN)
    page.goto(f"/calls/{service.ids['acme'][0]}")
    expect(page.locator("h1 time")).to_have_text("2026-11-02 09:00:00 CET")
    expect(page.locator("footer")).to_contain_text("Times and days are those of: Europe/Berlin")
    german = visitor(Role.ADMIN, language="de")
    german.goto(f"/calls/{service.ids['acme'][0]}")
    expect(german.locator("h1 time")).to_have_text("2026-11-02 09:00:00 MEZ")
    plain = visitor(Role.ADMIN, scripts=False)
    plain.goto(f"/calls/{service.ids['acme'][0]}")
    expect(plain.locator("h1 time")).to_have_text("2026-11-02 08:00:00 UTC")
