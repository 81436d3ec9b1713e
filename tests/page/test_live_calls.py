"""The list of calls moves by itself in a real browser, and only where something changed."""

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

PARTY: Any = {"role": "caller", "name": "Yusuf Kaya", "number": "+49305559999", "uri": None}


@pytest.fixture
def row(service: Town) -> Iterator[CallRow]:
    """A call under way in the index; when the test is over it has ended."""
    began = sample_customer.FIRST + timedelta(days=22)
    id = "feedface-5e1f-4a6b-9c2d-000000000001"
    details: Any = {"parties": [PARTY], "streams": []}
    row = CallRow(id, 20_780 << 32 | 1, CallState.RECORDING, began, None, 0, 0, details=details)
    put(service, row)
    yield row
    end(service, row)


def put(service: Town, row: CallRow) -> None:
    service.run(service.customers["acme"].calls.put([row], [stored(PARTY, "DE")]))


def end(service: Town, row: CallRow) -> None:
    """End the call, as the daemon writes it down."""
    put(service, replace(row, state=CallState.COMPLETE, ended_at=row.started_at, duration_ms=70_000))
    service.daemon.live.pop(("acme", row.id), None)


@pytest.fixture
def live(service: Town, row: CallRow) -> dict[str, Any]:
    """What the daemon says of it."""
    shown = {"id": row.id, "state": "recording", "duration_ms": 65_000, "parties": [PARTY], "paused": False}
    service.daemon.live["acme", row.id] = shown
    return shown


def test_a_call_that_is_paused_and_ends_moves_without_a_reload(
    service: Town, visitor: Callable[..., Page], row: CallRow, live: dict[str, Any]
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
    end(service, row)
    expect(above.get_by_text("No call is being recorded")).to_be_visible()
    expect(found.get_by_text("Yusuf Kaya")).to_be_visible()
    assert page.evaluate("window.same")
    templates = [act for act in service.acts() if act["action"] == "calls.search"]
    assert len(templates) <= 5  # the page, the first look of each block; later ones are silent for a minute


def test_a_recorder_that_does_not_answer_is_said(visitor: Callable[..., Page]) -> None:
    page = visitor(Role.LISTENER, watched=False)  # htmx writes it to the console too
    page.goto("/calls")
    expect(page.locator("#told")).to_be_hidden()
    page.route("**/calls/live*", lambda route: route.fulfill(status=503, body=""))
    expect(page.locator("#told")).to_be_visible()
    page.unroute("**/calls/live*")
    expect(page.locator("#told")).to_be_hidden()


def test_details_and_waveform_stay_while_a_call_continues(visitor: Callable[..., Page], live: dict[str, Any]) -> None:
    page = visitor(Role.ADMIN, Role.LISTENER)
    live["started_at"] = rfc3339(sample_customer.FIRST + timedelta(days=22))
    live["streams"] = [{"label": "1", "media": "audio", "party": 0}]
    page.goto(f"/calls/{live['id']}")
    expect(page.locator(".player[data-drawn]")).to_be_visible()
    page.get_by_text("The time line as a table").click()
    live["paused"] = True
    expect(page.locator("#now").get_by_text("paused", exact=True).first).to_be_visible()
    expect(page.locator("#now details")).to_have_attribute("open", "")
    expect(page.locator(".wave-says")).to_be_hidden()


def test_times_name_the_zone_of_the_reader(service: Town, visitor: Callable[..., Page], live: dict[str, Any]) -> None:
    for more, shown in (
        ({}, "09:00:00 CET"),
        ({"language": "de"}, "09:00:00 MEZ"),
        ({"scripts": False}, "08:00:00 UTC"),
    ):
        page = visitor(Role.ADMIN, **more)
        page.goto(f"/calls/{service.ids['acme'][0]}")
        expect(page.locator("h1 time")).to_have_text(f"2026-11-02 {shown}")
        page.goto("/calls?until=2026-11-02")
        if more:
            continue
        expect(page.locator("#found tbody tr").first.get_by_role("link")).to_have_text("2026-11-02 20:07:00 CET")
        expect(page.locator("input[name=zone]")).to_have_value("Europe/Berlin")
        expect(page.locator("footer")).to_contain_text("Times and days are those of: Europe/Berlin")
    page.goto("/calls")  # without scripts
    expect(page.locator("#live").get_by_role("link", name="Look again")).to_be_visible()
    expect(page.locator("#found tbody tr").first.get_by_role("link")).to_contain_text("UTC")
