"""What is due is erased on a full disk too; one that takes nothing at all delays it, and never half erases a call."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.daemon.coded_calls import verified
from tests.daemon.fault_injection import Trouble, troublemaker
from tests.daemon.server import files
from tests.journeys.test_forgetting import SECONDS, Api, place, record
from tests.journeys.test_full_disk import BLOCK, SIZE, fill, small_disk

__all__ = ["small_disk", "troublemaker"]

SWEEP = 5
"""Seconds between two sweeps: long enough to make trouble between a rule and the sweep that heeds it."""


def sweeping(api: Api) -> None:
    """Have sweeps often, and none that asks first."""
    text = api.one.config.read_text()
    brake = f"[retention]\nsweep_seconds = {SWEEP}\nbrake_percent = 100\n[keys]"
    api.one.config.write_text(text.replace("[keys]", brake))
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


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def filled(disk: Path) -> None:
    """Leave no byte free, though the daemon may give one back meanwhile."""
    until(lambda: fill(disk) or not os.statvfs(disk).f_bavail)


def in_order(api: Api, erased: str, kept: set[str]) -> None:
    """The call is gone with a word in the audit log, the others are there, and all fits together."""
    assert {item["id"] for item in api.calls()} == kept
    acts = [item["action"] for item in api.ask("GET", "/audit?limit=1000", "auditor").json()["items"]]
    assert "retention.sweep" in acts
    assert "Traceback" not in api.one.log.read_text()
    assert api.one.stop() == 0
    assert not [path for path in api.one.data.rglob("*") if path.name.startswith(erased)]
    assert verified(api.one) == []
    assert api.one.run("audit", "verify").returncode == 0


def test_a_sweep_works_without_a_free_byte(small_disk: Path, tmp_path: Path) -> None:
    with place(tmp_path, start=False) as api:
        sweeping(api)
        call, kept = due_in_trouble(api, lambda: filled(small_disk), (small_disk / "filler").unlink)
        until(lambda: api.gone(call))
        assert os.statvfs(small_disk).f_bavail * BLOCK <= SIZE // 8  # what was owned for erasures and the call, no more
        (small_disk / "filler").unlink()
        in_order(api, call, kept)


def test_a_read_only_disk_delays_a_sweep_and_splits_none(tmp_path: Path, troublemaker: Path) -> None:
    trouble = Trouble(tmp_path, troublemaker, tmp_path / "data")
    with place(tmp_path, start=False, environment=trouble.environment) as api:
        sweeping(api)
        call, kept = due_in_trouble(
            api, lambda: trouble.set(write_errno=errno.EROFS), lambda: trouble.set(write_errno=0)
        )
        until(lambda: {"retention.failed", "erasure.failed"} & set(api.one.events()))
        assert api.ask("GET", f"/calls/{call}").status_code == 503
        assert kept <= stored(api)
        trouble.set(write_errno=0)
        until(lambda: api.gone(call))
        in_order(api, call, kept)
