"""A second recorder on the database of another one records, and touches nothing there until the other one has left."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

from recorder.simulate.plan import Plan
from tests.daemon.api import Api, running, until
from tests.daemon.coded_calls import place
from tests.daemon.postgresql import cluster

TOLD = "served by node rec1, number 0"


def placed(it: Api) -> None:
    assert [call.well for call in place([Plan(to=it.one.uri(), seconds=2)])] == [True]


def test_a_copied_installation_loses_no_call_and_takes_none(tmp_path: Path) -> None:
    with cluster() as postgresql, running(tmp_path / "one", start=False) as first:
        postgresql.start()
        storage = f'[storage]\ndatabase = "{postgresql.url}"\n'
        first.one.config.write_text(first.one.config.read_text() + storage)
        first.one.start()
        placed(first)
        (theirs,) = first.ended()
        copy = tmp_path / "two"
        shutil.copytree(first.one.data, copy / "data")
        for name in ("root.key", "tls.crt", "tls.key"):
            shutil.copy2(first.one.folder / name, copy)
        with running(copy, start=False) as second:
            second.one.tokens = first.one.tokens
            second.one.config.write_text(second.one.config.read_text() + storage)
            second.one.replace("[node]\n", '[node]\nname = "rec2"\n')
            checked = second.one.run("check-config", "--start", "--json")
            (fault,) = json.loads(checked.stdout)["faults"]
            assert checked.returncode == 3
            assert fault["key"] == "storage.database" and TOLD in fault["found"]

            second.one.start()  # and records, whatever the check said
            placed(second)
            assert second.get("/calls").status_code == 503
            refused = second.one.run("calls")
            assert refused.returncode == 3 and TOLD in refused.stderr
            (told,) = [line for line in second.one.lines() if line.get("event") == "database.away"]
            assert (told["customer"], told["node"], told["error"]) == ("acme", "rec1", "OtherNode")
            assert TOLD in told["hint"]

            assert first.one.stop(signal.SIGKILL) < 0
            first.one.start()  # at once, and the other one had its chance
            assert [call["id"] for call in first.calls()] == [theirs["id"]]
            assert first.one.run("check-config", "--start").returncode == 0
            assert first.one.stop() == 0
            until(lambda: second.get("/calls").status_code == 200)
            second.one.until("database.back")
            mine, same = second.ended(2)
            assert same["id"] == theirs["id"] != mine["id"]
            assert second.sound(mine["id"])
            assert second.one.stop() == 0
