"""`recorder doctor --call`: a call that is recorded, heard and erased."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.api import WAIVER, running
from tests.journeys.commands.test_doctor import examined, states

pytestmark = pytest.mark.alone  # a busy recorder may refuse the call, and a busy sender may miss its times


def test_a_trial_call_is_recorded_heard_and_erased_if_allowed(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        checks = examined(it.one, "--call", "acme")
        assert checks["trial-call"]["state"] == "ok", checks["trial-call"]
        assert states(checks, "trial-call.listed", "trial-call.heard") == ["ok"] * 2, checks
        assert checks["trial-call.erased"]["state"] == "warn"
        (call,) = it.ended(1)
        assert {party["name"] for party in call["parties"]} == {"recorder doctor", "trial call"}
        assert it.ask("PUT", "/waiver", json=WAIVER).status_code == 200
        checks = examined(it.one, "--call", "acme")
        assert checks["trial-call.erased"]["state"] == "ok", checks
        asked = it.get("/erasures", "privacy").json()["items"]
        assert len(asked) == 1 or it.get("/erasures?state=done", "privacy").json()["items"]
        actions = {
            (each["action"], each["actor"].partition(":")[0]) for each in it.get("/audit", "auditor").json()["items"]
        }
        assert {("call.media", "cli"), ("erasure.create", "cli")} <= actions
        assert it.one.run("audit", "verify").returncode == 0
