"""`recorder check-config --start` beside a recorder that runs: what it holds counts as free, and it notices nothing."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.sbc import OFFER
from tests.daemon.server import Server, server

NOBODY = 65_534


def checked(one: Server, *, status: int) -> dict[str, Any]:
    """Check, and return the document; a person is shown the same faults, one a line."""
    done = one.run("check-config", "--start", "--json")
    assert done.returncode == status, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["ok"] == (status == 0)
    shown = one.run("check-config", "--start")
    assert shown.returncode == status and "Traceback" not in shown.stderr
    lines = [line for line in shown.stderr.splitlines() if line.startswith("  ")]
    assert [line.strip().partition(" ")[0].rstrip(":") for line in lines] == [each["key"] for each in told["faults"]]
    return told


def test_a_running_recorder_holds_its_own_ports_and_no_others(ready: Server) -> None:
    assert checked(ready, status=0) == {"ok": True, "faults": [], "warnings": []}
    ready.start()
    with ready.sbc("tcp") as sbc:
        assert sbc.ask("INVITE", OFFER).status == 200
        assert checked(ready, status=0)["faults"] == []
        assert sbc.ask("BYE").status == 200
    other = ready.folder / "other"
    other.mkdir()
    with server(other, udp=ready.udp, tls=ready.tls, api=ready.api, media=ready.media) as second:
        second.init()
        told = checked(second, status=3)
    assert [each["key"] for each in told["faults"]] == [
        "sip.listen[0]", "sip.listen[1]", "sip.listen[2]", "admin_api.listen",
    ]  # fmt: skip
    assert set(told["faults"][0]) == {"key", "line", "found", "right"}
    assert ready.stop() == 0


def test_ports_of_a_killed_recorder_are_free(ready: Server) -> None:
    ready.start()
    ready.stop(9)
    assert checked(ready, status=0)["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of another user")
def test_root_checks_as_the_user_who_owns_the_data(tmp_path: Path) -> None:
    place = Path("/var/tmp") / f"recorder-check-{os.getpid()}-{time.monotonic_ns()}"  # nobody may enter tmp_path
    place.mkdir(mode=0o755)
    try:
        with server(place) as one:
            one.init()
            for path in (place, *place.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
            assert checked(one, status=0)["ok"]
            os.chown(place / "tls.key", 0, 0)
            os.chown(one.data / "keys", 0, 0)
            os.chown(place / "root.key", 0, 0)
            os.chown(one.data / "customers" / "acme" / "tokens.json", 0, 0)
            told = checked(one, status=2)["faults"]
            found = {(each["key"], each["found"].rpartition("/")[2]) for each in told}
            assert ("node.data_dir", "tokens.json") in found
            assert ("keys.root", "root.key belongs to root, mode 0600; this is user nobody") in found
            (key,) = [each["right"] for each in told if each["key"] == "sip.private_key"]
            assert "belongs to root and has mode 0600" in key and f"chgrp nobody {place}/tls.key" in key
            assert any(key == "node.data_dir" and name.startswith("keys") for key, name in found)
            assert all("chown -R nobody: " in each["right"] for each in told if each["key"] == "node.data_dir")
    finally:
        shutil.rmtree(place)
