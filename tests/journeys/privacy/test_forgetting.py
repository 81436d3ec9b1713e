"""What is erased is gone, what is held stays, and a sweep takes what the preview names."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from recorder.simulate.plan import Plan
from tests.daemon.api import WAIVER, WHY, Api, running, until
from tests.daemon.coded_calls import place, record
from tests.daemon.server import Server, files

KNOWN_BY_ID = {"audit.jsonl", "acme.erasures", "index.sqlite3", "index.sqlite3-wal", "log"}
"""Where the random id of an erased call remains: with the request, its receipt and what was done."""


def test_a_hold_stops_an_erasure_and_a_live_call_can_be_held(tmp_path: Path) -> None:
    with running(tmp_path / "one") as api:
        first, second = record(api, 2)
        api.ask("PUT", "/waiver", json=WAIVER)
        held = api.ask("PUT", f"/calls/{first['id']}/hold", "privacy", json={"reason": "litigation"})
        assert held.status_code == 200 and held.json()["hold_reason"] == "litigation"
        assert api.get(f"/calls/{first['id']}").json()["hold"] is True

        both = {"calls": [first["id"], second["id"]], **WHY}
        assert api.ask("POST", "/erasures", "privacy", json=both).status_code == 409
        assert not api.gone(second["id"])

        party = first["parties"][0]["number"]
        waiting = api.ask("POST", "/erasures", "privacy", json={"party": party, **WHY}).json()["id"]
        assert api.erasure(waiting, "waiting")["receipt"] is None
        assert not api.gone(first["id"])
        assert api.ask("DELETE", f"/calls/{first['id']}/hold", "privacy").status_code == 204
        assert api.erasure(waiting, "done")["receipt"]["calls"] == [first["id"]]
        assert api.gone(first["id"]) and not api.gone(second["id"])

        live: list[str] = []

        def story() -> None:
            live.extend(until(lambda: open_calls(api, 2)))
            hold = api.ask("PUT", f"/calls/{live[0]}/hold", "privacy", json={"reason": "complaint"})
            assert hold.status_code == 200
            note = api.ask("POST", f"/calls/{live[0]}/annotations", "privacy", json={"text": "a note"})
            assert note.status_code == 201
            assert api.erase(calls=[live[1]])["receipt"]["calls"] == [live[1]]
            assert api.gone(live[1]), "a live call is stopped for its erasure"
            shown = api.get(f"/calls/{live[0]}").json()
            assert (shown["state"], shown["hold"], shown["source"]) == ("recording", True, "127.0.0.1")
            assert [one["text"] for one in shown["annotations"]] == ["a note"]

        async def meanwhile() -> None:
            await asyncio.to_thread(story)

        place([Plan(to=api.one.uri(), calls=2, seconds=12.0)], meanwhile)
        until(lambda: not named(api.one.folder, live[1]))
        # spools, checkpoints and documents of it go too, its place among the live calls once the index has it
        until(lambda: {x.name for x in files(api.one.folder) if live[1].encode() in content(x)} <= KNOWN_BY_ID)


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


def open_calls(api: Api, count: int) -> list[str]:
    """Return so many live calls once they are shown; the index does not know them yet, the files do."""
    open_parts = (api.one.data / "customers/acme/vault/open").glob("*.c1")
    found = sorted({path.name.split(".")[0] for path in open_parts})
    return found if len(found) == count and all(api.get(f"/calls/{id}").status_code == 200 for id in found) else []


def test_preview_dry_run_and_sweep_agree(tmp_path: Path) -> None:
    with running(tmp_path / "one") as api:
        one, calls = api.one, record(api, 3)
        rule = {"days": 0, "party": calls[0]["parties"][0]["number"], "name": "Planted"}
        wished = {"rules": [rule], "wins": "shortest"}
        assert [item["id"] for item in foreseen(api, wished)["items"]] == [calls[0]["id"]]
        assert foreseen(api)["items"] == [], "what is only tried changes nothing"
        stored = api.ask("PUT", "/retention", json=wished).json()
        assert stored["rules"][0]["party"] == rule["party"]
        restart(one)
        until(lambda: api.gone(calls[0]["id"]))
        assert {call["id"] for call in api.calls()} == {call["id"] for call in calls[1:]}

        api.ask("PUT", f"/calls/{calls[1]['id']}/hold", "privacy", json={"reason": "litigation"})
        api.ask("PUT", "/retention", json={"rules": [], "default_days": 0})
        record(api, 1)
        due = {call["id"] for call in api.calls()} - {calls[1]["id"]}
        preview = foreseen(api)
        assert (preview["brake"], preview["items"]) == (True, [])
        assert {item["id"] for item in preview["asks"]} == due
        restart(one)
        until(lambda: api.get("/erasures", "approver").json()["items"])
        (asked,) = api.get("/erasures", "approver").json()["items"]
        assert (asked["state"], asked["cause"]) == ("approval", "retention")
        assert not any(api.gone(call) for call in due)
        assert api.ask("POST", f"/erasures/{asked['id']}/approve", "admin").status_code == 403
        assert api.ask("POST", f"/erasures/{asked['id']}/approve", "approver").status_code == 200
        assert set(api.erasure(asked["id"], "done")["receipt"]["calls"]) == due
        assert [call["id"] for call in api.calls()] == [calls[1]["id"]]
        acts = {item["action"] for item in api.get("/audit?limit=1000", "auditor").json()["items"]}
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


def restart(one: Server) -> None:
    """Stop and start: a sweep runs at the start."""
    assert one.stop() == 0
    one.start()
