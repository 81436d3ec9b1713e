"""A recording that a bad disk keeps from being read keeps nobody waiting for longer than somebody needs to act."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.api import WAIVER, WHY, Api, running, until
from tests.daemon.coded_calls import record
from tests.daemon.fault_injection import Trouble, troublemaker
from tests.daemon.server import command

__all__ = ["troublemaker"]


def by_party(api: Api) -> int:
    """Ask for the erasure of somebody whom nobody recorded; return the status."""
    return api.ask("POST", "/erasures", "privacy", json={"party": "+49301112223", **WHY}).status_code


def failures(api: Api) -> list[str]:
    """Return which recordings could not be mended, as the log says."""
    return [line["call"] for line in api.one.lines() if line.get("event") == "recovery.failed"]


@pytest.mark.parametrize("way", ["granted by another", "files taken away", "readable again"])
def test_a_party_search_is_answered_once_the_fault_is_settled(tmp_path: Path, troublemaker: Path, way: str) -> None:
    trouble = Trouble(tmp_path, troublemaker, tmp_path / "one/data")
    more = "approve_erasures = true" * (way == "granted by another")
    with running(tmp_path / "one", environment=trouble.environment, more=more) as api:
        one, folder = api.one, api.one.data / "customers/acme"
        bad, *others = (call["id"] for call in record(api, 3))
        api.ask("PUT", "/waiver", json=WAIVER)
        assert one.stop() == 0
        for path in folder.glob("index.sqlite3*"):
            path.unlink()
        (control,) = folder.glob(f"vault/*/{bad}.*.c1")
        trouble.set(bad_inode=control.stat().st_ino)

        done = command("recover", "--config", one.config, timeout=60.0, **trouble.environment)
        assert done.returncode == 3, done.stderr
        for start in (1, 2):
            one.start()
            one.until("recovery.failed", start)
            assert {call["id"] for call in api.calls()} == {*others}
            assert by_party(api) == 503, "it might be about that person"
            assert failures(api) == [bad] * start
            if start == 1:
                assert one.stop() == 0

        if way == "files taken away":
            for path in folder.glob(f"vault/*/{bad}.*"):
                path.unlink()
        elif way == "readable again":
            trouble.set(bad_inode=0)
        else:
            filed = api.ask("POST", "/erasures", "privacy", json={"calls": [bad], **WHY}).json()["id"]
            assert api.ask("POST", f"/erasures/{filed}/approve", "approver").status_code == 200
            assert api.erasure(filed, "done")["receipt"]["calls"] == [bad]
        trouble.set(bad_inode=0)  # the number may be another file's now
        until(lambda: by_party(api) != 503)
        back = {bad} if way == "readable again" else set()
        assert {call["id"] for call in api.calls()} == {*others, *back}
        assert one.stop() == 0 and not (folder / "index.gap").exists()
