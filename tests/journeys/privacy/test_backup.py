"""A backup that is made while calls are recorded, and what comes back of it: elsewhere, older, or cut short."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.plan import Plan
from tests.daemon.api import WAIVER, running, until
from tests.daemon.coded_calls import nothing_missing, place, record
from tests.daemon.kills import killed_at
from tests.daemon.machine import machine
from tests.daemon.postgresql import cluster
from tests.daemon.server import Server, files


def said(one: Server, *words: object, status: int = 0) -> Any:
    """Run a command with --json and return its document."""
    done = one.run(*words, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def stored(data: Path) -> dict[str, str]:
    """Return the finished parts of a data directory, and their digests."""
    vault = data / "customers/acme/vault"
    finished = [path for path in files(vault) if path.parent.name.isdecimal()]
    return {str(path.relative_to(vault)): hashlib.sha256(path.read_bytes()).hexdigest() for path in finished}


def moved_away(one: Server, to: Path) -> None:
    """Empty the data directory of a stopped recorder but for its keys."""
    to.mkdir()
    for path in one.data.iterdir():
        if path.name != "keys":
            path.rename(to / path.name)


def verified(one: Server) -> None:
    assert said(one, "verify")["defects"] == []
    assert said(one, "audit", "verify")["ok"] is True


def test_a_restore_elsewhere_brings_back_all_but_erased_calls(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with running(tmp_path / "one") as api:
        one = api.one
        erased, kept = (call["id"] for call in record(api, 2))
        api.ask("PUT", "/waiver", json=WAIVER)

        async def meanwhile() -> None:
            await api.talking(2)
            made = await asyncio.to_thread(said, one, "backup", backup)
            assert (made["ok"], made["generation"]) == (True, 1)

        live = place([Plan(to=one.uri(), calls=2, seconds=5)], meanwhile)
        nothing_missing(api, live)
        assert not [path for path in files(backup) if "keys" in path.parts or path.name == "root.key"]
        heard, parts = api.sound(kept), {n: d for n, d in stored(one.data).items() if n.split("/")[1][:36] == kept}
        api.erase(calls=[erased])
        assert one.stop() == 0
        keys, secret = tmp_path / "keys", (one.folder / "root.key").read_bytes()
        shutil.copytree(one.data / "keys", keys)

    (tmp_path / "two").mkdir()
    with running(tmp_path / "two", start=False) as api:
        two = api.one
        shutil.rmtree(two.data)
        two.data.mkdir()
        shutil.copytree(keys, two.data / "keys")
        (two.folder / "root.key").write_bytes(secret)
        restored = said(two, "restore", backup)
        assert (restored["ok"], restored["generation"]) == (True, 1)
        assert parts.items() <= stored(two.data).items()
        two.start()
        api.one.tokens.clear()
        until(lambda: len(api.calls()) == 3 and not any(call["state"] == "recording" for call in api.calls()))
        assert api.sound(kept) == heard
        assert api.gone(erased)
        assert sorted(call["state"] for call in api.calls()) == ["complete", "interrupted", "interrupted"]
        nothing_missing(api, place([Plan(to=two.uri(), seconds=2)]))
        assert said(two, "audit", "verify", status=1)["ok"] is False
        assert said(two, "audit", "accept", "--customer", "acme", "--reason", "moved house")["customer"] == "acme"
        verified(two)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def test_an_older_backup_comes_back_and_is_accepted(tmp_path: Path, database: str) -> None:
    backup = tmp_path / "backup"
    with ExitStack() as stack:
        server = stack.enter_context(cluster()) if database == "postgresql" else None
        api = stack.enter_context(running(tmp_path / "one", start=False))
        one = api.one
        if server:
            server.start()
            one.config.write_text(one.config.read_text() + f'[storage]\ndatabase = "{server.url}"\n')
        one.start()
        api.ask("PUT", "/waiver", json=WAIVER)
        erased, kept = (call["id"] for call in record(api, 2))
        assert said(one, "backup", backup)["generation"] == 1
        again = said(one, "backup", backup)
        assert (again["generation"], again["ok"]) == (2, True)
        (lost,) = (call["id"] for call in record(api, 1))
        heard = api.sound(kept)
        api.erase(calls=[erased])
        assert said(one, "backup", backup)["generation"] == 3
        assert one.stop() == 0

        assert one.run("restore", backup).returncode == 3, "the data directory is not empty"
        moved_away(one, tmp_path / "away")
        if server:
            server.ask("postgres", "DROP DATABASE recorder_acme")
        assert said(one, "restore", backup, "--generation", 2)["generation"] == 2
        one.start()
        until(lambda: {call["id"] for call in api.calls()} == {kept})
        assert api.gone(erased) and api.gone(lost) and api.sound(kept) == heard
        nothing_missing(api, place([Plan(to=one.uri(), seconds=2)]))
        (defect,) = said(one, "verify", status=1)["defects"]
        assert defect["part"] == "audit.jsonl"
        accepted = said(one, "audit", "accept", "--customer", "acme", "--reason", "the disk failed")
        verified(one)
        (shown,) = said(one, "audit", "verify")["customers"][0]["accepted"]
        assert (shown["entry"], shown["reason"]) == (accepted["entry"], "the disk failed")
        assert said(one, "backup", backup)["generation"] == 4
        assert one.stop() == 0
        shutil.rmtree(one.data / "customers")
        if server:
            server.ask("postgres", "DROP DATABASE recorder_acme")
        for path in one.data.iterdir():
            if path.name != "keys" and path.is_file():
                path.unlink()
        said(one, "restore", backup, "--generation", 2)
        assert said(one, "audit", "verify", status=1)["ok"] is False, "a further rollback is found again"


def test_a_snapshot_of_the_whole_machine_is_found_by_a_witness(tmp_path: Path) -> None:
    seen = tmp_path / "elsewhere.jsonl"
    with running(tmp_path / "one", start=False) as api:
        one = api.one
        one.config.write_text(one.config.read_text() + f'[audit]\nwitnesses = ["file:{seen}"]\n')
        one.start()
        api.ask("PUT", "/waiver", json=WAIVER)
        (call,) = (each["id"] for each in record(api, 1))
        assert one.stop() == 0
        shutil.copytree(one.data, tmp_path / "snapshot")
        one.start()
        api.erase(calls=[call])
        assert one.stop() == 0
        one.start()  # sends a checkpoint at once
        until(lambda: said_to(seen) >= newest_entry(one))
        assert one.stop() == 0
        shutil.rmtree(one.data)
        shutil.copytree(tmp_path / "snapshot", one.data)
        one.start()
        assert api.sound(call), "the snapshot has its keys, so it undoes the erasure"
        assert said(one, "audit", "verify")["ok"] is True, "nothing on the machine knows"
        found = said(one, "audit", "verify", "--witness", seen, status=1)["customers"][0]
        assert found["ok"] is False and "checkpoint" in found["fault"]
        assert one.stop() == 0


def said_to(witness: Path) -> int:
    """Return the newest entry that a witness knows of."""
    lines = witness.read_text().splitlines() if witness.exists() else []
    return max((json.loads(line)["n"] for line in lines), default=0)


def newest_entry(one: Server) -> int:
    return int(said(one, "audit", "verify")["customers"][0]["entries"])


def killed(one: Server, number: int, *words: object) -> int:
    """Run a command, kill it at one of its changes of the disk, and return its status."""
    line = [sys.executable, "-m", "recorder", *map(str, words), "--config", str(one.config)]
    child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with killed_at(child.pid, number):
        return child.wait(60)


def test_a_backup_and_a_restore_that_are_killed_are_continued(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with running(tmp_path / "one") as api:
        one = api.one
        record(api, 6)
        assert one.stop() == 0
        parts, done = stored(one.data), 0
        for number in (8, 15, 25, 40, 60, 90, 130, 180):
            ended = killed(one, number, "backup", backup)
            assert ended in (0, -signal.SIGKILL)
            done += ended == 0
            complete = [path for path in (backup / "generations").glob("*") if path.name.isdecimal()]
            assert len(complete) == done, "nothing that was cut short counts"
        assert done < 8
        assert said(one, "backup", backup)["ok"] is True
        moved_away(one, tmp_path / "away")
        for number in (8, 15, 25, 40, 60, 90):
            if killed(one, number, "restore", backup) == 0:
                break
            assert not list((one.data / "customers").rglob("*.m1")) or stored(one.data) == parts
        else:
            assert said(one, "restore", backup)["ok"] is True
        assert stored(one.data) == parts
        assert not list(one.data.rglob("*.draft")) and not (one.data / ".restore").exists()
        one.start()
        assert len(api.calls()) == 6
        nothing_missing(api, place([Plan(to=one.uri(), seconds=2)]))
        verified(one)


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_torture_the_units_and_what_root_runs_beside_them(tmp_path: Path) -> None:
    with machine(tmp_path) as one:
        words = ["/opt/recorder/.venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "-v", "-x", "--tb=short"]
        done = one.call(*words, "tests/journeys/privacy/backup_unit_checks.py", seconds=540)
    print(done.stdout)
    assert done.returncode == 0
