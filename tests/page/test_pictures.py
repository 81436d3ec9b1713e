"""Pictures of the main views for the administrator's guide: `make pictures` puts them into docs/pictures.

Otherwise they go nowhere, and the test only says that each is small enough for a page of documentation.
"""

import json
import os
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Page, expect

from admin_api.http.permissions import Role
from tests.in_process import sample_customer
from tests.page.conftest import Town
from tests.page.every_view import furnish
from tests.page.palette_png import small
from tests.page.test_live_calls import live, row

__all__ = ["live", "row"]  # fixtures
MOST_BYTES = 120_000
VIEWS = (
    ("calls", "/calls", 800),
    ("call", "/calls/{calls}", 1180),
    ("request", "/requests/{requests}", 1000),
    ("approval", "/erasures/{waits}", 560),
    ("retention", "/retention/edit", 1130),
    ("audit", "/audit", 800),
    ("system", "/system", 900),
)
"""The name of each picture, what it shows, and how high it is."""


def peaks() -> bytes:
    """Two people who take turns, as a render worker tells of their sound: nine minutes, drawn in 1,200 steps."""
    chance = random.Random(1)
    turns = [[chance.randrange(200, 900) * (n // 60 % 2 == who) for n in range(1200)] for who in (0, 1)]
    channels = [{"label": str(n + 1), "peaks": turns[n], "gaps": []} for n in (0, 1)]
    return json.dumps({"seconds": 522, "started_ns": 0, "channels": channels}).encode()


def test_the_main_views_have_their_picture_taken(
    service: Town, visitor: Callable[..., Page], live: object, tmp_path: Path
) -> None:
    album = Path(os.environ.get("PICTURES", tmp_path))
    service.daemon.peaks = peaks()
    service.daemon.at = sample_customer.FIRST + timedelta(days=23)
    ids = {**furnish(service), "calls": service.ids["acme"][31]}
    for name, path, height in VIEWS:
        page = visitor(*Role, name="mira", theme="dark" if name == "system" else "light", height=height)
        page.goto(path.format_map(ids))
        if name == "call":
            expect(page.locator(".player[data-drawn]")).to_be_visible()
        if name == "retention":
            page.get_by_label("Days where no rule matches").fill("15")
            page.get_by_role("button", name="See what these rules would erase").last.click()
        picture = small(page.screenshot(animations="disabled"))
        (album / f"{name}.png").write_bytes(picture)
        assert len(picture) <= MOST_BYTES, f"{name}: {len(picture)} bytes"
