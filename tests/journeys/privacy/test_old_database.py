"""A database is replaced, and what it does not know comes from recordings and journal: an old copy, or another one."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.plan import Plan
from tests.daemon.api import WAIVER, WHY, Api, running, until
from tests.daemon.coded_calls import place, record
from tests.daemon.postgresql import cluster


def state(api: Api, among: Sequence[str] = ()) -> dict[str, object]:
    """Everything that an old database does not know, of all calls or of some."""
    calls = {call["id"]: call["hold"] for call in api.calls() if not among or call["id"] in among}
    shown = {call: api.get(f"/calls/{call}", "privacy").json() for call in calls}
    return {
        "calls": calls,
        "shown": shown if among else {},
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

        api.ask("DELETE", f"/calls/{freed}/hold", "privacy")
        api.ask("PUT", f"/users/{user['id']}", "privacy", json={"first_name": "New", "email": "one@example.org"})
        done = decided(api, erased, held)
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


def decided(api: Api, erased: str, held: str) -> dict[str, Any]:
    """Have people decide about calls what no recording knows; return the erasure of one of them."""
    api.ask("PUT", "/waiver", json=WAIVER)
    api.ask("PUT", f"/calls/{held}/hold", "privacy", json={"reason": "litigation"})
    api.ask("POST", f"/calls/{held}/annotations", "privacy", json={"text": "a note"})
    api.ask("PUT", "/retention", json={"rules": [{"days": 3650, "name": "new"}], "default_days": 30})
    api.ask("PUT", "/column-sets/short", "privacy", json={"columns": ["id"]})
    api.ask("POST", "/requests", "privacy", json={"kind": "access", "identities": ["Anna"]})
    done = api.erase(calls=[erased])
    waiting = api.ask("POST", "/erasures", "privacy", json={"party": number_of(api, held), **WHY}).json()["id"]
    api.erasure(waiting, "waiting")
    return done


@pytest.mark.torture
def test_another_database_knows_what_the_one_before_knew(tmp_path: Path) -> None:
    """From SQLite to PostgreSQL and back, with calls that go on meanwhile."""
    with cluster() as postgresql, running(tmp_path / "one", kept=True) as api:
        one, folder = api.one, api.one.data / "customers/acme"
        postgresql.start()
        erased, held, *others = (call["id"] for call in record(api, 4))
        person = {"first_name": "Anna", "email": "a@example.org", "numbers": [number_of(api, held)]}
        assert api.ask("POST", "/users", "privacy", json=person).status_code == HTTPStatus.CREATED
        unmapped = api.ask("POST", "/users", "privacy", json={"first_name": "Ben", "email": "b@example.org"}).json()[
            "id"
        ]
        assert api.ask("POST", f"/users/{unmapped}/unmap", "privacy").status_code == HTTPStatus.OK
        done = decided(api, erased, held)
        said = b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n"
        path = f"/calls/{others[0]}/attachments?kind=transcript"
        answer = api.ask("POST", path, "privacy", content=said, headers={"Content-Type": "text/vtt"})
        assert answer.status_code == HTTPStatus.CREATED
        until(lambda: any(party.get("user_id") for party in api.get(f"/calls/{held}").json()["parties"]))
        one.config.write_text(one.config.read_text() + '[storage]\ndatabase = "sqlite"\n')
        kept = [held, *others]
        for old, new in (("sqlite", postgresql.url), (postgresql.url, "sqlite")):
            today, heard = state(api, kept), api.sound(held)

            async def meanwhile(old: str = old, new: str = new) -> None:
                await api.talking(2)
                assert await asyncio.to_thread(one.stop) == 0
                one.replace(f'"{old}"', f'"{new}"')
                await asyncio.to_thread(one.start)

            live = api.over(place([Plan(to=one.uri(), calls=2, seconds=6)], meanwhile))
            for call in live.values():
                assert (call["state"], [stream["lost"] for stream in call["streams"]]) == ("complete", [0, 0])
            until(lambda: not (folder / "index.gap").exists())
            assert state(api, kept) == today
            assert api.gone(erased) and api.sound(held) == heard
            assert api.get(f"/erasures/{done['id']}", "privacy").json() == done, "the receipt is the one handed out"
            assert one.run("verify").returncode == one.run("audit", "verify").returncode == 0
            kept += [call["id"] for call in live.values()]
            for file in folder.glob("index.sqlite3*"):
                file.unlink()


def number_of(api: Api, call: str) -> str:
    """Return the number of a caller."""
    return str(api.get(f"/calls/{call}").json()["parties"][0]["number"])
