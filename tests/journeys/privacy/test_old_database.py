"""A copy of the database alone, put back weeks later beside everything as it is today, comes to the state of today."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.daemon.api import WAIVER, WHY, Api, running, until
from tests.daemon.coded_calls import record


def state(api: Api) -> dict[str, object]:
    """Everything that an old database does not know."""
    calls = {call["id"]: call["hold"] for call in api.calls()}
    shown = {call: api.get(f"/calls/{call}", "privacy").json() for call in calls}
    return {
        "calls": calls,
        "notes": {call: [note["text"] for note in one["annotations"]] for call, one in shown.items()},
        "reasons": {call: one.get("hold_reason") for call, one in shown.items()},
        "retention": api.get("/retention").json(),
        "waiver": api.get("/waiver").json(),
        "users": api.get("/users", "privacy").json()["items"],
        "sets": api.get("/column-sets", "privacy").json()["items"],
        "requests": api.get("/requests", "privacy").json()["items"],
        "open": api.get("/erasures", "privacy").json()["items"],
    }


def test_an_old_database_put_back_alone_catches_up(tmp_path: Path) -> None:
    with running(tmp_path / "one") as api:
        one = api.one
        erased, held, freed = (call["id"] for call in record(api, 3))
        api.ask("PUT", f"/calls/{freed}/hold", "privacy", json={"reason": "a mistake"})
        api.ask("PUT", "/retention", json={"rules": [{"days": 90, "name": "old"}], "default_days": 90})
        user = api.ask("POST", "/users", "privacy", json={"first_name": "Old", "email": "one@example.org"}).json()
        assert one.stop() == 0
        folder, old = one.data / "customers/acme", tmp_path / "index.sqlite3"
        shutil.copy(folder / "index.sqlite3", old)
        assert not list(folder.glob("index.sqlite3-*")), "a database that was closed is one file"
        one.start()

        api.ask("PUT", "/waiver", json=WAIVER)
        api.ask("DELETE", f"/calls/{freed}/hold", "privacy")
        api.ask("PUT", f"/calls/{held}/hold", "privacy", json={"reason": "litigation"})
        api.ask("POST", f"/calls/{held}/annotations", "privacy", json={"text": "a note"})
        api.ask("PUT", "/retention", json={"rules": [{"days": 3650, "name": "new"}], "default_days": 30})
        api.ask("PUT", f"/users/{user['id']}", "privacy", json={"first_name": "New", "email": "one@example.org"})
        api.ask("PUT", "/column-sets/short", "privacy", json={"columns": ["id"]})
        api.ask("POST", "/requests", "privacy", json={"kind": "access", "identities": ["Anna"]})
        done = api.erase(calls=[erased])
        waiting = api.ask("POST", "/erasures", "privacy", json={"party": number_of(api, held), **WHY}).json()["id"]
        api.erasure(waiting, "waiting")
        record(api, 1)
        today, heard = state(api), api.sound(held)
        assert one.stop() == 0

        for path in folder.glob("index.sqlite3*"):
            path.unlink()
        shutil.copy(old, folder / "index.sqlite3")
        one.start()
        until(lambda: state(api) == today)
        assert api.gone(erased) and api.sound(held) == heard
        again = api.get(f"/erasures/{done['id']}", "privacy").json()
        assert again == done, "the receipt is the one that was handed out"
        receipt = tmp_path / "receipt.json"
        receipt.write_text(json.dumps(again["receipt"]))
        assert one.run("audit", "verify", "--receipt", receipt).returncode == 0
        assert one.run("verify").returncode == 0
        assert one.run("audit", "verify").returncode == 0


def number_of(api: Api, call: str) -> str:
    """Return the number of a caller."""
    return str(api.get(f"/calls/{call}").json()["parties"][0]["number"])
