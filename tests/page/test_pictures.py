"""Pictures of the main views for the administrator's guide: `make pictures` puts them into docs/pictures.

Otherwise they go nowhere, and the test only says that each is small enough for a page of documentation.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from admin_api.http.permissions import Role
from storage.calls.call_index import CallRow, CallState
from storage.search_forms import stored
from tests.admin_api.privacy.test_waiver import WAIVER
from tests.in_process import sample_customer
from tests.page.conftest import Town
from tests.page.palette_png import small

MOST_BYTES = 120_000
DIRECTORY = (
    {"first_name": "Grace", "last_name": "Okafor", "email": "grace@werk.example", "numbers": ["+49894440000"]},
    {"first_name": "Jonas", "last_name": "Lindqvist", "email": "jonas@werk.example", "numbers": ["+49894440001"]},
    {"first_name": "Mira", "last_name": "Petrović", "email": "mira@werk.example", "numbers": ["+49894440002"]},
    {"first_name": "Tobias", "last_name": "Wagner", "email": "tobias@werk.example", "numbers": ["+49894440003"]},
)


def peaks() -> bytes:
    """Two people who take turns, as a render worker tells of their sound: nine minutes, drawn in 1,200 steps."""
    channels = []
    for speaker in (0, 1):
        turn = [max(0.0, math.sin(n / 37 + math.pi * speaker)) * (0.55 + 0.45 * math.sin(n / 11)) for n in range(1200)]
        syllables = [abs(math.sin(n * 1.7) * math.cos(n * 0.61)) for n in range(1200)]
        loud = [round(900 * loudness * (0.3 + syllable)) for loudness, syllable in zip(turn, syllables, strict=True)]
        channels.append({"label": str(speaker + 1), "peaks": [min(1000, each) for each in loud], "gaps": []})
    return json.dumps({"seconds": 522, "started_ns": 0, "channels": channels}).encode()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Where the pictures go."""
    folder = Path(os.environ["PICTURES"]) if os.environ.get("PICTURES") else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def busy(service: Town) -> Town:
    """The sample_customer on a working day: calls under way, a directory, rules, a waiver."""
    service.daemon.peaks = peaks()
    service.daemon.at = sample_customer.FIRST + timedelta(days=23)
    for person in DIRECTORY:
        service.ask("/users", Role.PRIVACY, method="POST", json=person)
    service.ask("/waiver", method="PUT", json=WAIVER)
    service.ask("/retention", method="PUT", json={"rules": [{"days": 3650, "direction": "inbound", "name": "Orders"}]})
    for number, seconds in ((1, 204), (2, 37)):
        live(service, number, seconds)
    return service


def live(service: Town, number: int, seconds: int) -> None:
    """Have a call under way."""
    began = sample_customer.FIRST + timedelta(days=22, hours=2, seconds=-seconds)
    person = {**DIRECTORY[number], "role": "callee"}
    parties: Any = [
        {"role": "caller", "name": sample_customer.CALLERS[number], "number": f"+4930555000{number}", "uri": None},
        {"role": "callee", "name": f"{person['first_name']} {person['last_name']}", "number": None, "uri": None},
    ]
    id = f"feedface-5e1f-4a6b-9c2d-00000000000{number}"
    row = CallRow(id, 20_780 << 32 | number, CallState.RECORDING, began, None, 0, 0, details={"parties": parties})
    service.run(service.customers["acme"].calls.put([row], [tuple(f for p in parties for f in stored(p, "DE"))]))
    shown = {"id": id, "state": "recording", "duration_ms": seconds * 1000, "parties": parties, "paused": False}
    service.daemon.live["acme", id] = shown


def take(page: Page, album: Path, name: str, height: int = 800) -> None:
    """Take a picture, and see that it is small."""
    page.set_viewport_size({"width": 1280, "height": height})
    page.mouse.move(0, 0)
    picture = small(page.screenshot(animations="disabled"))
    (album / f"{name}.png").write_bytes(picture)
    assert len(picture) <= MOST_BYTES, f"{name}: {len(picture)} bytes"


def test_the_main_views_have_their_picture_taken(busy: Town, visitor: Callable[..., Page], album: Path) -> None:
    daemon = visitor(Role.ADMIN, Role.PRIVACY, Role.LISTENER, name="mira")
    daemon.goto("/calls")
    take(daemon, album, "calls")
    daemon.goto(f"/calls/{busy.ids['acme'][31]}")
    expect(daemon.locator(".player[data-drawn]")).to_be_visible()
    take(daemon, album, "call", 1180)

    daemon.goto("/requests/new")
    daemon.get_by_label("erasure (Art. 17)").check()
    daemon.get_by_label("Who asks").fill("+49 30 555 0000\nAnna Schmidt")
    daemon.get_by_label("Reference").fill("letter of 20 November")
    daemon.get_by_role("button", name="File the request").click()
    with daemon.expect_navigation():
        daemon.get_by_role("button", name="Choose all that are not in doubt").click()
    daemon.goto(daemon.url.partition("#")[0])
    take(daemon, album, "request", 1000)

    acme = busy.customers["acme"]
    erasure = busy.run(acme.erasures.file(calls=[busy.ids["acme"][20]], reason="x", by="mira", approval=True))
    approver = visitor(Role.APPROVER, name="grace")
    approver.goto(f"/erasures/{erasure.id}")
    take(approver, album, "approval", 560)

    daemon.goto("/retention/edit")
    daemon.get_by_label("Days where no rule matches").fill("15")
    daemon.get_by_role("button", name="See what these rules would erase").last.click()
    take(daemon, album, "retention", 940)

    auditor = visitor(Role.AUDITOR, name="henrik")
    auditor.goto("/audit")
    take(auditor, album, "audit")

    operator = visitor(Role.OPERATOR, Role.ADMIN, name="tobias", theme="dark")
    operator.goto("/system")
    take(operator, album, "system", 900)
