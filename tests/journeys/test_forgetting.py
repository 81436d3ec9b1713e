"""What is erased is gone, from here and from every old copy; what is held stays; a kill -9 stops neither."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.daemon.server import Server, command, files, server

WAIVER = {
    "document_sha256": "5a" * 32,
    "signed_by": "Example Ltd",
    "signed_at": "2026-01-01T00:00:00Z",
    "scope": "erasure on request",
    "expires_at": "2099-01-01T00:00:00Z",
}
WHY = {"reason": "Art. 17 request of Mr Planted"}
SECONDS = 40
KNOWN_BY_ID = {"audit.jsonl", "acme.erasures", "index.sqlite3", "index.sqlite3-wal", "log"}
"""Where the random id of an erased call remains: with the request, its receipt and what was done."""


@dataclass
class Api:
    """One server's API as several people use it."""

    one: Server
    tokens: dict[str, str]

    def ask(self, method: str, path: str, role: str = "admin", **more: Any) -> httpx2.Response:
        """Send one request."""
        base = f"http://127.0.0.1:{self.one.api}/api/v1/customers/acme"
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        return httpx2.request(method, base + path, headers=headers, timeout=SECONDS, **more)

    def calls(self) -> list[dict[str, Any]]:
        """List all calls, oldest first."""
        return list(reversed(self.ask("GET", "/calls").json()["items"]))

    def erase(self, **wanted: Any) -> dict[str, Any]:
        """Ask for an erasure and wait until it is done."""
        answer = self.ask("POST", "/erasures", "privacy", json={**wanted, **WHY})
        assert answer.status_code == 202, answer.text
        return self.until(answer.json()["id"], "done")

    def until(self, id: str, state: str) -> dict[str, Any]:
        """Wait until an erasure is that far."""
        end = time.monotonic() + SECONDS
        while (found := self.ask("GET", f"/erasures/{id}", "privacy").json()).get("state") != state:
            assert time.monotonic() < end, found
            time.sleep(0.02)
        return dict(found)

    def gone(self, call: str) -> bool:
        """Say whether a call is like one that never was, whatever is asked."""
        paths = (f"/calls/{call}", f"/calls/{call}/media")
        return all(self.ask("GET", path).status_code == 404 for path in paths) and call not in {
            one["id"] for one in self.calls()
        }


@contextmanager
def place(folder: Path, *, start: bool = True, **settings: Any) -> Iterator[Api]:
    """A server that runs, or will, with a token for every role."""
    folder.mkdir(exist_ok=True)
    with server(folder, **settings) as one:
        tokens = {"admin": one.init()}
        for role in ("privacy", "approver", "auditor"):
            made = one.run("token", "create", "--customer", "acme", "--role", role, "--name", f"the-{role}", "--json")
            assert made.returncode == 0, made.stderr
            tokens[role] = json.loads(made.stdout)["token"]
        if start:
            one.start()
        yield Api(one, tokens)


def record(api: Api, count: int, seconds: float = 1) -> list[dict[str, Any]]:
    """Have calls recorded and indexed."""
    before = len(api.calls())
    to = f"sip:rec@127.0.0.1:{api.one.udp}"
    placed = command("simulate", "--to", to, "--calls", str(count), "--duration", str(seconds), "--json")
    assert placed.returncode == 0, placed.stderr
    end = time.monotonic() + SECONDS
    while len(calls := api.calls()) < before + count or any(c["state"] == "recording" for c in calls):
        assert time.monotonic() < end, calls
        time.sleep(0.05)
    metrics = f"http://127.0.0.1:{api.one.api}/metrics"
    becomes(lambda: "\nrecorder_oldest_unindexed_seconds 0.0\n" in httpx2.get(metrics, timeout=SECONDS).text)
    return calls[before:]


def sound(api: Api, call: str) -> bytes:
    """Fetch the audio of a call."""
    return api.ask("GET", f"/calls/{call}/media?format=wav").content


def export(api: Api, calls: list[str]) -> str:
    """Have calls exported; return the id of the export."""
    asked = {"calls": calls, "format": "csv", "reason": "x"}
    id = str(api.ask("POST", "/exports", "privacy", json=asked).json()["id"])
    end = time.monotonic() + SECONDS
    while api.ask("GET", f"/exports/{id}").json()["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert api.ask("GET", f"/exports/{id}/file").status_code == 200
    return id


def genuine(one: Server, receipt: Path) -> subprocess.CompletedProcess[str]:
    """Check a receipt with the command."""
    return one.run("audit", "verify", "--receipt", receipt, "--json")


def test_a_hold_stops_an_erasure_and_a_live_call_can_be_held(tmp_path: Path) -> None:
    with place(tmp_path / "one") as api:
        first, second = record(api, 2)
        api.ask("PUT", "/waiver", json=WAIVER)
        held = api.ask("PUT", f"/calls/{first['id']}/hold", "privacy", json={"reason": "litigation"})
        assert held.status_code == 200 and held.json()["hold_reason"] == "litigation"
        assert api.ask("GET", f"/calls/{first['id']}").json()["hold"] is True

        both = {"calls": [first["id"], second["id"]], **WHY}
        assert api.ask("POST", "/erasures", "privacy", json=both).status_code == 409
        assert not api.gone(second["id"])

        party = first["parties"][0]["number"]
        waiting = api.ask("POST", "/erasures", "privacy", json={"party": party, **WHY}).json()["id"]
        assert api.until(waiting, "waiting")["receipt"] is None
        assert not api.gone(first["id"])
        assert api.ask("DELETE", f"/calls/{first['id']}/hold", "privacy").status_code == 204
        assert api.until(waiting, "done")["receipt"]["calls"] == [first["id"]]
        assert api.gone(first["id"]) and not api.gone(second["id"])

        talking = subprocess.Popen(
            [sys.executable, "-m", "recorder", "simulate", "--to", f"sip:rec@127.0.0.1:{api.one.udp}",
             "--calls", "2", "--duration", "120"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            api.one.until("recorder.ready")
            live = _live(api, 2)
            hold = api.ask("PUT", f"/calls/{live[0]}/hold", "privacy", json={"reason": "complaint"})
            assert hold.status_code == 200
            note = api.ask("POST", f"/calls/{live[0]}/annotations", "privacy", json={"text": "a note"})
            assert note.status_code == 201
            assert api.erase(calls=[live[1]])["receipt"]["calls"] == [live[1]]
            assert api.gone(live[1]), "a live call is stopped for its erasure"
            shown = api.ask("GET", f"/calls/{live[0]}").json()
            assert (shown["state"], shown["hold"]) == ("recording", True)
            assert [one["text"] for one in shown["annotations"]] == ["a note"]
            assert shown["source"] == "127.0.0.1"
        finally:
            talking.kill()
            talking.wait()
        becomes(lambda: not named(api.one.folder, live[1]))
        # spools, checkpoints and documents of it go too, its place among the live calls once the index has it
        becomes(lambda: {x.name for x in files(api.one.folder) if live[1].encode() in content(x)} <= KNOWN_BY_ID)


def becomes(true: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def named(folder: Path, call: str) -> list[Path]:
    """List the files and folders that are called after a call."""
    found = [Path(place, name) for place, folders, names in os.walk(folder) for name in (*folders, *names)]
    return [path for path in found if call in path.name]


def content(path: Path) -> bytes:
    """Read a file; one that has gone meanwhile holds nothing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _live(api: Api, count: int) -> list[str]:
    """Wait for live calls; `recorder calls` does not know them before the index does, the files do."""
    end = time.monotonic() + SECONDS
    while True:
        open_parts = (api.one.data / "customers/acme/vault/open").glob("*.c1")
        found = sorted({path.name.split(".")[0] for path in open_parts})
        if len(found) == count and all(api.ask("GET", f"/calls/{id}").status_code == 200 for id in found):
            return found
        assert time.monotonic() < end
        time.sleep(0.02)


def test_preview_dry_run_and_sweep_agree(tmp_path: Path) -> None:
    with place(tmp_path / "one") as api:
        one, calls = api.one, record(api, 3)
        rule = {"days": 0, "party": calls[0]["parties"][0]["number"], "name": "Planted"}
        wished = {"rules": [rule], "wins": "shortest"}
        assert [item["id"] for item in foreseen(api, wished)["items"]] == [calls[0]["id"]]
        assert foreseen(api)["items"] == [], "what is only tried changes nothing"
        stored = api.ask("PUT", "/retention", json=wished).json()
        assert stored["rules"][0]["party"] == rule["party"]
        again(one)
        becomes(lambda: api.gone(calls[0]["id"]))
        assert [call["id"] for call in api.calls()] == [call["id"] for call in calls[1:]]

        api.ask("PUT", f"/calls/{calls[1]['id']}/hold", "privacy", json={"reason": "litigation"})
        api.ask("PUT", "/retention", json={"rules": [], "default_days": 0})
        record(api, 1)
        due = {call["id"] for call in api.calls()} - {calls[1]["id"]}
        preview = foreseen(api)
        assert (preview["brake"], preview["items"]) == (True, [])
        assert {item["id"] for item in preview["asks"]} == due
        again(one)
        becomes(lambda: api.ask("GET", "/erasures", "approver").json()["items"])
        (asked,) = api.ask("GET", "/erasures", "approver").json()["items"]
        assert (asked["state"], asked["cause"]) == ("approval", "retention")
        assert not any(api.gone(call) for call in due)
        assert api.ask("POST", f"/erasures/{asked['id']}/approve", "admin").status_code == 403
        assert api.ask("POST", f"/erasures/{asked['id']}/approve", "approver").status_code == 200
        assert set(api.until(asked["id"], "done")["receipt"]["calls"]) == due
        assert [call["id"] for call in api.calls()] == [calls[1]["id"]]
        acts = {item["action"] for item in api.ask("GET", "/audit?limit=1000", "auditor").json()["items"]}
        assert {"retention.sweep", "retention.brake", "erasure.approve", "call.hold", "erasure.done"} <= acts
        assert one.run("audit", "verify").returncode == 0


def foreseen(api: Api, wished: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the API what a sweep would take; without other rules the command must say the same."""
    found = dict(api.ask("POST", "/retention/preview", "privacy", json=wished or {}).json())
    if wished is None:
        listed = json.loads(api.one.run("retention", "--dry-run", "--json").stdout)
        ids = [[item["id"] for item in part] for part in (listed["items"], listed["customers"][0]["asks"])]
        assert ids == [[item["id"] for item in found[name]] for name in ("items", "asks")]
    return found


def again(one: Server) -> None:
    """Stop and start: a sweep runs at the start."""
    assert one.stop() == 0
    one.start()


@pytest.mark.parametrize("rounds", [(0.0, 0.004, 0.01, 0.02, 0.04, 0.08)])
def test_an_erasure_resumes_after_a_kill(tmp_path: Path, rounds: tuple[float, ...]) -> None:
    with place(tmp_path / "one") as api:
        one, calls = api.one, record(api, len(rounds) + 1)
        *doomed, kept = (call["id"] for call in calls)
        heard = sound(api, kept)
        api.ask("PUT", "/waiver", json=WAIVER)
        for call, pause in zip(doomed, rounds, strict=True):
            asked = api.ask("POST", "/erasures", "privacy", json={"calls": [call], **WHY})
            assert asked.status_code == 202
            time.sleep(pause)
            one.stop(signal.SIGKILL)
            one.start()
            assert api.until(asked.json()["id"], "done")["receipt"]["calls"] == [call]
            assert api.gone(call)
            assert not named(one.data, call)
        assert sound(api, kept) == heard
        assert one.run("verify").returncode == 0
        assert one.run("audit", "verify").returncode == 0


def test_where_the_customer_wants_it_a_second_person_approves(tmp_path: Path) -> None:
    with place(tmp_path / "one") as api:
        one = api.one
        one.stop()
        one.config.write_text(one.config.read_text() + "approve_erasures = true\n")
        made = one.run(
            "token",
            "create",
            "--customer",
            "acme",
            "--role",
            "privacy",
            "--role",
            "approver",
            "--name",
            "two",
            "--json",
        )
        api.tokens["two"] = json.loads(made.stdout)["token"]
        one.start()
        (call,) = record(api, 1)
        api.ask("PUT", "/waiver", json=WAIVER)
        asked = api.ask("POST", "/erasures", "two", json={"calls": [call["id"]], **WHY}).json()
        assert asked["state"] == "approval"
        assert api.ask("POST", f"/erasures/{asked['id']}/approve", "two").status_code == 403
        assert not api.gone(call["id"])
        assert api.ask("POST", f"/erasures/{asked['id']}/approve", "approver").status_code == 200
        done = api.until(asked["id"], "done")
        assert done["receipt"]["approved_by"] == "the-approver"
        assert api.gone(call["id"])


def test_a_lost_database_loses_no_holds_or_rules(tmp_path: Path) -> None:
    with place(tmp_path / "one") as api:
        one = api.one
        held, erased, kept = (call["id"] for call in record(api, 3))
        api.ask("PUT", "/waiver", json=WAIVER)
        api.ask("PUT", f"/calls/{held}/hold", "privacy", json={"reason": "litigation"})
        api.ask("POST", f"/calls/{held}/annotations", "privacy", json={"text": "a note"})
        receipt = api.erase(calls=[erased])["receipt"]
        api.ask("PUT", "/retention", json={"rules": [{"days": 3650, "name": "long"}], "default_days": 0})
        heard = sound(api, kept)
        assert one.stop() == 0
        for path in one.data.glob("customers/acme/index.sqlite3*"):
            path.unlink()
        one.start()
        end = time.monotonic() + SECONDS
        while {call["id"] for call in api.calls()} != {held, kept}:
            assert time.monotonic() < end, api.calls()
            time.sleep(0.05)
        shown = api.ask("GET", f"/calls/{held}").json()
        assert (shown["hold"], shown["hold_reason"]) == (True, "litigation")
        assert [note["text"] for note in shown["annotations"]] == ["a note"]
        assert api.ask("GET", "/waiver").json()["active"] is True
        assert api.ask("GET", "/retention").json()["rules"][0]["name"] == "long"
        assert api.ask("GET", f"/erasures/{receipt['erasure']}", "privacy").json()["receipt"] == receipt
        assert api.ask("POST", "/erasures", "privacy", json={"calls": [held], **WHY}).status_code == 409
        assert api.gone(erased) and sound(api, kept) == heard
        assert one.run("verify").returncode == 0
