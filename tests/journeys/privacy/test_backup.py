"""A backup that is made while calls are recorded, and what comes back of it: elsewhere, older, or cut short."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from recorder.simulate.plan import Plan
from tests.daemon.api import WAIVER, running, until
from tests.daemon.coded_calls import nothing_missing, place, record
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


def test_elsewhere_comes_back_what_was_finished_and_nothing_that_was_erased(tmp_path: Path) -> None:
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
