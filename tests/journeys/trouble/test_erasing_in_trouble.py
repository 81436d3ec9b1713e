"""On a full disk a call is still erased on request; a disk that takes nothing delays what is due."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from tests.daemon.api import WAIVER, Api, running, until
from tests.daemon.coded_calls import record, verified
from tests.daemon.fault_injection import Trouble, troublemaker
from tests.daemon.server import files
from tests.journeys.trouble.disks import filled, small_disk

__all__ = ["small_disk", "troublemaker"]

SWEEP = 3
"""Seconds between two sweeps: long enough to make trouble between a rule and the sweep that heeds it."""


def sweeping(api: Api) -> None:
    """Have sweeps often, and none that asks first."""
    api.one.replace("[keys]", f"[retention]\nsweep_seconds = {SWEEP}\nbrake_percent = 100\n[keys]")
    api.one.start()


def due_in_trouble(api: Api, begin: Callable[[], None], end: Callable[[], None]) -> tuple[str, set[str]]:
    """Let a call become due and trouble begin before it is erased; give it, and those that stay."""
    calls = record(api, 3)
    for call in calls:
        rule = {"days": 0, "party": call["parties"][0]["number"], "name": "now"}
        assert api.ask("PUT", "/retention", json={"rules": [rule], "wins": "shortest"}).status_code == 200
        begin()
        left = stored(api)
        if call["id"] in left:
            return call["id"], left - {call["id"]}
        end()  # a sweep was quicker
    raise AssertionError("every sweep was quicker")


def stored(api: Api) -> set[str]:
    """The calls whose parts lie on the disk; the API answers nothing that it cannot write into the audit log."""
    vault = api.one.data / "customers/acme/vault"
    return {path.name.split(".")[0] for path in files(vault) if path.suffix}


def all_in_order(api: Api, erased: str, kept: set[str]) -> None:
    """The call is gone with a word in the audit log, the others are there, and all fits together."""
    assert {item["id"] for item in api.calls()} == kept
    acts = [item["action"] for item in api.get("/audit?limit=1000", "auditor").json()["items"]]
    assert "retention.sweep" in acts
    assert "Traceback" not in api.one.log.read_text()
    assert api.one.stop() == 0
    assert not [path for path in api.one.data.rglob("*") if path.name.startswith(erased)]
    assert verified(api.one) == []
    assert api.one.run("audit", "verify").returncode == 0


def test_a_read_only_disk_delays_a_sweep_and_splits_none(tmp_path: Path, troublemaker: Path) -> None:
    trouble = Trouble(tmp_path, troublemaker, tmp_path / "data")
    with running(tmp_path, start=False, environment=trouble.environment) as api:
        sweeping(api)
        call, kept = due_in_trouble(
            api, lambda: trouble.set(write_errno=errno.EROFS), lambda: trouble.set(write_errno=0)
        )
        until(lambda: {"retention.failed", "erasure.failed"} & set(api.one.events()))
        assert api.get(f"/calls/{call}").status_code == 503
        assert kept <= stored(api)
        trouble.set(write_errno=0)
        until(lambda: api.gone(call))
        all_in_order(api, call, kept)


def test_erasing_works_at_no_byte_free(small_disk: Path, tmp_path: Path) -> None:
    with running(tmp_path) as api:
        assert api.one.data == small_disk
        gone, held, kept = (call["id"] for call in record(api, 3))
        api.ask("PUT", "/waiver", json=WAIVER)
        api.one.token("privacy")  # while there is room for it
        filled(small_disk)
        receipt = api.erase(calls=[gone])["receipt"]
        assert receipt["calls"] == [gone] and api.gone(gone)
        (small_disk / "filler").unlink()
        assert api.ask("PUT", f"/calls/{held}/hold", "privacy", json={"reason": "court"}).status_code == 200
        filled(small_disk)
        assert api.erase(calls=[kept])["receipt"]["calls"] == [kept]
        (small_disk / "filler").unlink()
        assert api.one.stop() == 0
        for path in small_disk.glob("customers/acme/index.sqlite3*"):
            path.unlink()
        api.one.start()
        found = api.get(f"/erasures/{receipt['erasure']}", "privacy").json()
        assert found["receipt"] == receipt
        assert api.one.run("audit", "verify").returncode == 0
        assert (small_disk / "customers/acme/audit.checkpoints").stat().st_size, "the log was signed meanwhile"
