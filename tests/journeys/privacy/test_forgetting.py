"""What is erased is gone, what is held stays, and a sweep takes what the preview names."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from recorder.simulate.plan import Plan
from tests.daemon.api import WAIVER, WHY, Api, running, until
from tests.daemon.coded_calls import place, record
from tests.daemon.server import files

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

        place([Plan(to=api.one.uri(), calls=2, seconds=60.0)], meanwhile, left=True)
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
