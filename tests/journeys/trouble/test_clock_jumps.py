"""The machine's clock is set by days and years while it runs: nothing is erased before its time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.daemon.api import running, until
from tests.daemon.coded_calls import record
from tests.daemon.fault_injection import Trouble, troublemaker

__all__ = ["troublemaker"]

SWEEPS = 2.5  # seconds: two sweeps at least
KEPT_DAYS = 20


def test_a_clock_that_jumps_erases_nothing_early(tmp_path: Path, troublemaker: Path) -> None:
    trouble = Trouble(tmp_path, troublemaker, tmp_path / "one/data")
    with running(tmp_path / "one", start=False, environment=trouble.environment) as api:
        api.one.replace("[keys]", "[retention]\nsweep_seconds = 1\nbrake_percent = 100\n[keys]")
        api.one.start()
        rules = {"rules": [], "default_days": KEPT_DAYS}
        until(lambda: api.ask("PUT", "/retention", json=rules).status_code == 200)

        def set_clock(days: int) -> None:
            """Set the clock of the daemon, which must show it, by so many days."""
            trouble.set(ahead=days * 86_400)

            def shown() -> bool:
                api.get("/waiver")
                newest = api.get("/audit?limit=1", "auditor").json()["items"][0]["time"]
                away = datetime.fromisoformat(newest) - datetime.now(UTC) - timedelta(days=days)
                return abs(away) < timedelta(hours=1)

            until(shown)

        (first,) = record(api)
        heard = api.sound(first["id"])
        due = until(lambda: api.get(f"/calls/{first['id']}").json()["erase_after"])
        known = {first["id"]}
        for days in (-7, 30, 3650, 0):
            set_clock(days)
            time.sleep(SWEEPS)
            assert api.get(f"/calls/{first['id']}").json()["erase_after"] == due
            assert {call["id"] for call in api.calls()} == known, days
            if len(known) < 4:  # one call of each wrong time
                record(api)
                known = {call["id"] for call in api.calls()}
        found = api.calls()
        assert {call["id"] for call in found} == known
        assert all(call["erase_after"] >= due for call in found), "those of a clock set back really ended later"
        assert api.sound(first["id"]) == heard
        api.ask("PUT", "/retention", json={"rules": [], "default_days": 0})
        until(lambda: api.gone(first["id"]))
